// The real docker buildx, driver remote, against the daemon.
import { spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import {
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { createServer as createHttpServer } from "node:http";
import { createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { fromBinary } from "@bufbuild/protobuf";
import {
  ExportTraceServiceRequestSchema,
  type ExportTraceServiceRequest,
} from "../../src/control/gen/opentelemetry/trace_pb.js";
import { LlbClient } from "../support/llb-client.js";
import { pushScanner, readSbom } from "../support/scanner.js";
import { startDaemon, type BuildxOptions, type TestDaemon } from "../support/daemon.js";
import {
  bluekiln,
  bluekilnAside,
  KEY,
  makeContext,
  startServices,
  type Outcome,
  type Services,
} from "../support/services.js";

let services: Services;
let daemon: TestDaemon;

beforeAll(async () => {
  services = await startServices();
  const connection = `DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=${KEY};BlobEndpoint=${services.azure}`;
  daemon = await startDaemon(services.work, ["--allow-insecure-entitlement=network.host"], {
    AZURE_STORAGE_CONNECTION_STRING: connection,
  });
});
afterAll(async () => {
  await daemon.stop();
  services.stop();
});

const newFolder = (name: string): string => mkdtempSync(join(services.work, `${name}-`));
const context = (files: Record<string, string>): string => makeContext(services.work, files);
const build = (args: readonly string[], options?: BuildxOptions): Promise<Outcome> =>
  daemon.buildx(["build", "--progress=plain", ...args], options);
async function built(args: readonly string[], options?: BuildxOptions): Promise<string> {
  const { status, stderr } = await build(args, options);
  expect(`${status} ${stderr}`).toMatch(/^0 /);
  return stderr;
}
const cachedSteps = (stderr: string): number => [...stderr.matchAll(/^#\d+ CACHED$/gm)].length;
async function manifest(name: string): Promise<Record<string, unknown>> {
  const [, path, tag] = /^([^:]+):(.*)$/.exec(name)!;
  const accept = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json";
  const response = await fetch(`http://${services.registry}/v2/${path}/manifests/${tag}`, {
    headers: { accept },
  });
  return (await response.json()) as Record<string, unknown>;
}

describe("builder", () => {
  it("is there, says what it is, and has storage", async () => {
    const { stdout } = await daemon.buildx(["inspect"]);
    expect(stdout).toMatch(/Status:\s+running/);
    expect(stdout).toMatch(/Platforms:.*linux\//);
    expect((await daemon.buildx(["ls"])).stdout).toMatch(/test\*?\s+remote/);
    expect((await daemon.buildx(["du"])).stdout).toContain("Total:");
  });
});

describe("cache in Azure, its key in the daemon's environment", () => {
  it("is exported, and found again when nothing is left here", async () => {
    const folder = context({
      Dockerfile: `FROM ${services.base}\nCOPY f /\nRUN cat /f > /g\nRUN echo last\n`,
      f: `content ${Math.random()}`,
    });
    const cache = `type=azblob,name=app,container=interop,account_url=${services.azure},account_name=devstoreaccount1`;
    const image = `${services.registry}/app:1`;
    const first = await built([
      "--push",
      "-t",
      image,
      "--cache-to",
      `${cache},mode=max,ignore-error=true`,
      folder,
    ]);
    expect(first).toMatch(/layers? \([\d.]+\w+\) sent/);
    const before = (await manifest("app:1"))["manifests"] as { digest: string }[];
    await daemon.buildx(["prune", "--all", "--force"]);
    const second = await built(["--push", "-t", image, "--cache-from", cache, folder]);
    expect(cachedSteps(second)).toBeGreaterThanOrEqual(3);
    const after = (await manifest("app:1"))["manifests"] as { digest: string }[];
    expect(after[0]!.digest).toBe(before[0]!.digest);
    expect(daemon.log()).not.toContain(KEY);
  });

  it("given by the client never gets into the history", async () => {
    const cache = `type=azblob,name=gone,container=nowhere,account_url=${services.azure},account_name=devstoreaccount1,secret_access_key=${KEY}`;
    await built(["--cache-from", cache, context({ Dockerfile: "FROM scratch\nCOPY f /\n", f: "x" })]);
    const files = readdirSync(join(daemon.root, "history"), { recursive: true, withFileTypes: true });
    const texts = files
      .filter((file) => file.isFile())
      .map((file) => readFileSync(join(file.parentPath, file.name)));
    expect(texts.length).toBeGreaterThan(0);
    expect(texts.some((data) => data.includes(KEY))).toBe(false);
  });
});

describe("outputs", () => {
  let folder: string;
  beforeAll(() => {
    folder = context({ Dockerfile: "FROM scratch\nCOPY . /\n", f: "one", "sub/g": "two" });
    symlinkSync("f", join(folder, "link"));
    linkSync(join(folder, "f"), join(folder, "hard"));
    writeFileSync(
      Buffer.concat([Buffer.from(join(folder, "n")), Buffer.from([0xff]), Buffer.from("ü")]),
      "three",
    );
    utimesSync(join(folder, "f"), 1_000_000_000, 1_000_000_000);
  });

  it("local: a folder as it was", async () => {
    const out = newFolder("out");
    await built(["--output", out, folder]);
    expect(readFileSync(join(out, "f"), "utf8")).toBe("one");
    expect(readFileSync(join(out, "sub/g"), "utf8")).toBe("two");
    expect(statSync(join(out, "f")).mtimeMs).toBe(1_000_000_000_000);
    expect(statSync(join(out, "hard")).ino).toBe(statSync(join(out, "f")).ino);
    const names = readdirSync(out, { encoding: "buffer" }).map((name) => name.toString("latin1"));
    expect(names).toContain("n\xffÃ¼");
    expect(names).toContain("link");
  });

  it.each(["tar", "oci", "docker"])("%s: an archive", async (type) => {
    const dest = join(newFolder("out"), "out.tar");
    await built(["--output", `type=${type},dest=${dest}`, "-t", "app:1", folder]);
    const listing = spawn("tar", ["tf", dest], { stdio: ["ignore", "pipe", "inherit"] });
    let names = "";
    listing.stdout.on("data", (chunk: Buffer) => (names += chunk.toString()));
    expect((await once(listing, "close"))[0]).toBe(0);
    expect(names).toContain(type === "tar" ? "sub/g" : "index.json");
  });

  it("several platforms, annotated", async () => {
    const name = `${services.registry}/multi:1`;
    const platforms = ["--platform", "linux/amd64,linux/arm64", "--annotation", "index:a=b"];
    await built([...platforms, "--provenance=false", "--push", "-t", name, folder]);
    const index = await manifest("multi:1");
    expect(index["manifests"]).toHaveLength(2);
    expect(index["annotations"]).toEqual({ a: "b" });
  });

  it("caches of other kinds", async () => {
    const local = newFolder("cache");
    await built(["--cache-to", `type=local,dest=${local},mode=max`, folder]);
    expect(existsSync(join(local, "index.json"))).toBe(true);
    const name = `${services.registry}/cache:1`;
    await built(["--cache-to", `type=registry,ref=${name},mode=max`, folder]);
    await daemon.buildx(["prune", "--all", "--force"]);
    expect(cachedSteps(await built(["--cache-from", `type=local,src=${local}`, folder]))).toBeGreaterThan(0);
    await daemon.buildx(["prune", "--all", "--force"]);
    expect(cachedSteps(await built(["--cache-from", name, folder]))).toBeGreaterThan(0);
  });
});

describe("what a client lends", () => {
  it("secrets and agents", async () => {
    const folder = context({
      Dockerfile: `FROM ${services.base}
RUN --mount=type=secret,id=s cat /run/secrets/s | tr a-z A-Z > /upper
RUN --mount=type=secret,id=e,env=E test "$E" = of-env
RUN --mount=type=ssh test -S "$SSH_AUTH_SOCK"
`,
    });
    const file = join(newFolder("secret"), "s");
    writeFileSync(file, "of-file");
    const socket = join(newFolder("agent"), "s");
    const agent = createServer().listen(socket);
    const out = newFolder("out");
    const lent = ["--secret", `id=s,src=${file}`, "--secret", "id=e,env=E", "--ssh", `default=${socket}`];
    await built([...lent, "--output", out, folder], { env: { E: "of-env" } });
    agent.close();
    expect(readFileSync(join(out, "upper"), "utf8")).toBe("OF-FILE");
  });

  it("named contexts: folders, images, OCI layouts", async () => {
    const layout = newFolder("layout");
    const inner = context({ Dockerfile: "FROM scratch\nCOPY f /from-layout\n", f: "layout" });
    await built(["--provenance=false", "--output", `type=oci,dest=${layout},tar=false`, inner]).catch(
      () => undefined,
    );
    const archive = join(newFolder("layout"), "l.tar");
    await built(["--provenance=false", "--output", `type=oci,dest=${archive}`, inner]);
    await once(spawn("tar", ["xf", archive, "-C", layout]), "close");
    const folder = context({
      Dockerfile: "FROM layout\nCOPY --from=other g /\nCOPY --from=image /bin/busybox /\n",
    });
    const out = newFolder("out");
    const other = context({ g: "other" });
    const contexts = [
      `layout=oci-layout://${layout}`,
      `other=${other}`,
      `image=docker-image://${services.base}`,
    ];
    await built([...contexts.flatMap((text) => ["--build-context", text]), "--output", out, folder]);
    expect(readdirSync(out).sort()).toEqual(["busybox", "from-layout", "g"]);
  });

  it("a context and a Dockerfile from standard input", async () => {
    const folder = context({ f: "x" });
    const out = newFolder("out");
    const Dockerfile = Buffer.from("FROM scratch\nCOPY f /\n");
    await built(["--output", out, "-f", "-", folder], { input: Dockerfile });
    expect(readdirSync(out)).toEqual(["f"]);
    const only = newFolder("out");
    await built(["--output", only, "-"], { input: Buffer.from("FROM scratch\nCOPY <<E /e\nx\nE\n") });
    expect(readFileSync(join(only, "e"), "utf8")).toBe("x\n");
  });

  it("targets that stand on others, with bake", async () => {
    const folder = context({
      Dockerfile: `FROM ${services.base} AS tool\nRUN echo made > /made\n`,
      "docker-bake.hcl": `
group "default" {
  targets = ["a"]
}
target "a" {
  context = "."
  dockerfile-inline = "FROM base\\nRUN test -f /made"
  contexts = { base = "target:b" }
}
target "b" {
  context = "."
  target = "tool"
}
`,
    });
    const { status, stderr } = await daemon.buildx(["bake", "--progress=plain"], { cwd: folder });
    expect(`${status} ${stderr}`).toMatch(/^0 /);
    expect(stderr).toMatch(/RUN test -f \/made/);
  });

  it("thousands of files, and large ones", async () => {
    const folder = context({ Dockerfile: "FROM scratch\nCOPY . /\n" });
    for (let i = 0; i < 5000; i++) {
      if (i % 100 === 0) mkdirSync(join(folder, `d${i / 100}`));
      writeFileSync(join(folder, `d${Math.floor(i / 100)}`, `f${i}`), `file ${i}`);
    }
    const large = Buffer.alloc(50 << 20, "large ");
    writeFileSync(join(folder, "large"), large);
    const out = newFolder("out");
    await built(["--output", out, folder]);
    expect(readFileSync(join(out, "d49", "f4999"), "utf8")).toBe("file 4999");
    expect(readFileSync(join(out, "large")).equals(large)).toBe(true);
  });
});

describe("what the Dockerfile frontend says", () => {
  it("checks, outlines, targets", async () => {
    const folder = context({
      Dockerfile: `FROM ${services.base} as x\nARG A=1 # an argument\nRUN echo $A\n`,
    });
    expect((await build(["--check", folder])).stdout).toMatch(/FromAsCasing[^]*>>> FROM/);
    expect((await build(["--call=outline", folder])).stdout).toMatch(/BUILD ARG[^]*A\s+1/);
    expect((await build(["--call=targets", folder])).stdout).toContain("x (default)");
  });

  it.each([
    ["a command that fails", "RUN exit 3", /exit code: 3/],
    ["a file that is not there", "COPY nope /", /"\/nope": not found/],
    ["an instruction nobody knows", "FOO x", /unknown instruction: FOO/],
  ])("%s: an excerpt and the error", async (_title, line, message) => {
    const { status, stderr } = await build([context({ Dockerfile: `FROM ${services.base}\n${line}\n` })]);
    expect(status).toBe(1);
    expect(stderr).toMatch(message);
    expect(stderr).toContain(`   2 | >>> ${line}`);
  });

  it("a Dockerfile that is not there", async () => {
    const { status, stderr } = await build(["-f", "none", context({ f: "" })]);
    expect(status).toBe(1);
    expect(stderr).toContain("failed to read dockerfile: open none: no such file or directory");
  });
});

describe("provenance", () => {
  const image = async (
    tag: string,
    ...args: string[]
  ): Promise<{ annotations?: Record<string, string> }[]> => {
    const folder = context({ Dockerfile: `FROM ${services.base}\nARG A\nCOPY f /\n`, f: tag });
    await built(["--push", "-t", `${services.registry}/prov:${tag}`, "--build-arg", "A=1", ...args, folder]);
    return ((await manifest(`prov:${tag}`))["manifests"] ?? []) as { annotations?: Record<string, string> }[];
  };
  const provenanceOf = async (tag: string): Promise<Record<string, Record<string, unknown>>> => {
    const format = ["--format", "{{json .Provenance.SLSA}}"];
    const { stdout } = await daemon.buildx([
      "imagetools",
      "inspect",
      `${services.registry}/prov:${tag}`,
      ...format,
    ]);
    return JSON.parse(stdout) as Record<string, Record<string, unknown>>;
  };

  it("is there by default, is more when asked for, or not there at all", async () => {
    const [own, attestation] = await image("min");
    expect(own!.annotations).toBeUndefined();
    expect(attestation!.annotations).toMatchObject({ "vnd.docker.reference.type": "attestation-manifest" });
    const min = await provenanceOf("min");
    expect(min["materials"]).toEqual([
      {
        uri: expect.stringMatching(/^pkg:docker\/.*base@1\?platform=linux%2F/) as string,
        digest: expect.anything() as object,
      },
    ]);
    expect(min["buildConfig"]).toBeUndefined();
    await image("max", "--provenance=mode=max");
    const max = await provenanceOf("max");
    expect(max["invocation"]).toMatchObject({ parameters: { args: { "build-arg:A": "1" } } });
    expect(max["buildConfig"]!["llbDefinition"]).toHaveLength(4);
    const about = max["metadata"]!["https://mobyproject.org/buildkit@v1#metadata"] as Record<string, object>;
    expect(about["layers"]).toEqual({
      "step0:0": [[expect.objectContaining({ size: expect.any(Number) as number }) as object]],
      "step2:0": [[expect.anything(), expect.anything()]],
    });
    expect(await image("none", "--provenance=false")).toEqual([]);
  });
});

describe("a folder that is sent again", () => {
  const transferred = (stderr: string): number => {
    const [, number, unit] = [...stderr.matchAll(/transferring context:(?: ([\d.]+)(MB|kB|B))? .*done/g)].at(
      -1,
    )!;
    // nothing of a file was sent
    if (number === undefined) return 0;
    return Number(number) * { MB: 1e6, kB: 1e3, B: 1 }[unit as "B"];
  };

  it("has only what changed sent, and is what it is", async () => {
    const folder = context({
      Dockerfile: `FROM ${services.base}\nCOPY . /c/\nRUN find /c -type f | sort | xargs cat | md5sum > /sum\n`,
      "d/small": "one",
      "d/link-to-be": "file",
    });
    writeFileSync(join(folder, "large"), randomBytes(5e6));
    const sumOf = async (): Promise<{ out: string; sent: number; sum: string; paths: string[] }> => {
      const out = newFolder("out");
      const sent = transferred(await built(["--provenance=false", "-o", out, folder]));
      const paths = (readdirSync(join(out, "c"), { recursive: true }) as string[]).sort();
      return { out, sent, sum: readFileSync(join(out, "sum"), "utf8"), paths };
    };
    const first = await sumOf();
    expect(first.sent).toBeGreaterThan(5e6 - 1);
    const second = await sumOf();
    expect(second.sent).toBeLessThan(5e5);
    expect(second).toMatchObject({ sum: first.sum, paths: first.paths });
    writeFileSync(join(folder, "d/small"), "two");
    // a link to a folder of the daemon's machine, and then a folder in its place: nothing is taken through the link
    const outside = newFolder("outside");
    const time = 1_500_000_000;
    const put = (path: string, content: string): void => {
      writeFileSync(path, content, { mode: 0o644 });
      utimesSync(path, time, time);
    };
    put(join(outside, "f"), "secret");
    rmSync(join(folder, "d/link-to-be"));
    symlinkSync(outside, join(folder, "d/link-to-be"));
    const third = await sumOf();
    expect(third.sent).toBeLessThan(5e5);
    expect(third.sum).not.toBe(first.sum);
    rmSync(join(folder, "d/link-to-be"));
    mkdirSync(join(folder, "d/link-to-be"));
    put(join(folder, "d/link-to-be/f"), "public");
    const fourth = await sumOf();
    expect(fourth.paths).toContain("d/link-to-be/f");
    expect(readFileSync(join(fourth.out, "c/d/link-to-be/f"), "utf8")).toBe("public");
    writeFileSync(join(folder, "large"), randomBytes(5e6));
    expect((await sumOf()).sent).toBeGreaterThan(5e6 - 1);
  });

  it("is sent to many builds at once", async () => {
    const folder = context({ Dockerfile: `FROM ${services.base}\nCOPY . /c/\n` });
    for (let i = 0; i < 50; i++) writeFileSync(join(folder, `f${i}`), randomBytes(10_000));
    await Promise.all(Array.from({ length: 6 }, () => built(["--no-cache", folder])));
    await Promise.all(
      Array.from({ length: 6 }, (_, i) => {
        writeFileSync(join(folder, `f${i}`), randomBytes(10_000));
        return built(["--no-cache", folder]);
      }),
    );
    const { stdout } = bluekiln(["doctor", "--state-dir", daemon.root]);
    expect(stdout).toContain("no problems found");
    const { stdout: usage } = await daemon.buildx(["du", "--verbose"]);
    const folders = usage.split("\n\n").filter((record) => record.includes("local source for context"));
    // one for each folder that this file's builds have sent, not for each build
    expect(folders.length).toBeLessThan(40);
  });
});

describe("URLs", () => {
  it("are asked with the secrets that a client has for their host", async () => {
    const seen: (string | undefined)[] = [];
    const server = createHttpServer((request, response) => {
      seen.push(request.headers.authorization);
      response.end("content");
    });
    await once(server.listen(0, "127.0.0.1"), "listening");
    const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const folder = context({ Dockerfile: `FROM scratch\nADD http://${host}/f /f\n` });
    await built(["--secret", `id=HTTP_AUTH_TOKEN_127.0.0.1,env=T`, folder], { env: { T: "token" } });
    await built(["--no-cache", "--secret", `id=HTTP_AUTH_HEADER_127.0.0.1,env=T`, folder], {
      env: { T: "Basic x" },
    });
    expect(seen).toEqual(["Bearer token", "Basic x"]);
    server.close();
  });
});

describe("errors", () => {
  it("name every place, the outermost first", async () => {
    const folder = context({
      Dockerfile: "FROM scratch AS one\nCOPY --from=two /x /x\nFROM scratch AS two\nCOPY --from=one /y /y\n",
    });
    const { stderr } = await build([folder]);
    expect([...stderr.matchAll(/^Dockerfile:(\d)$/gm)].map(([, line]) => line)).toEqual(["4", "2"]);
    const own = await bluekilnAside(["build", "--builder", `unix://${daemon.socket}`, folder]);
    expect([...own.stderr.matchAll(/^Dockerfile:(\d)$/gm)].map(([, line]) => line)).toEqual(["4", "2"]);
  });
});

describe("SBOM", () => {
  it("is what the scanner says, also of stages and of the context where the Dockerfile wants that", async () => {
    const scanner = await pushScanner(services);
    const folder = context({
      Dockerfile: [
        "ARG BUILDKIT_SBOM_SCAN_CONTEXT=true",
        "FROM scratch AS tools",
        "ARG BUILDKIT_SBOM_SCAN_STAGE=true",
        "COPY f /tool",
        "FROM scratch",
        "COPY --from=tools /tool /app",
        "",
      ].join("\n"),
      f: "x",
    });
    const out = join(services.work, "sbom");
    const attest = `type=sbom,generator=${scanner},COLOR=red`;
    await built(["--attest", attest, "--output", `type=local,dest=${out}`, folder]);
    expect(readSbom(out, "sbom.spdx.json")).toEqual({ files: ["/app"], color: "red" });
    expect(readSbom(out, "sbom-tools.spdx.json")).toEqual({ files: ["/tool"], color: "red" });
    expect(readSbom(out, "sbom-context.spdx.json")).toEqual({ files: ["/f"], color: "red" });
  });

  it("needs a scanner that can be had", async () => {
    const folder = context({ Dockerfile: "FROM scratch\nCOPY Dockerfile /\n" });
    const missing = `${services.registry}/no/scanner:1`;
    const { status, stderr } = await build(["--sbom", `generator=${missing}`, folder]);
    expect(`${status} ${stderr}`).toMatch(/^1 /);
    expect(stderr).toContain(`${missing}: not found`);
  });
});

describe("outputs of several parts", () => {
  const platforms = ["--platform", "linux/amd64,linux/arm64"];
  const split = (name: string): string =>
    context({ Dockerfile: `FROM scratch\nARG TARGETARCH\nCOPY f ${name}\n`, f: "x" });
  const list = (folder: string): string[] => (readdirSync(folder, { recursive: true }) as string[]).sort();

  it("files have what is said of them beside them", async () => {
    const out = newFolder("out");
    await built(["--provenance=mode=min", "-o", `type=local,dest=${out},attestation-prefix=a.`, split("f")]);
    expect(list(out)).toEqual(["a.provenance.json", "f"]);
    const { subject } = JSON.parse(readFileSync(join(out, "a.provenance.json"), "utf8")) as {
      subject: unknown;
    };
    expect(subject).toEqual([
      { name: "f", digest: { sha256: "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881" } },
    ]);
    const tar = join(newFolder("out"), "t.tar");
    await built(["--provenance=mode=min", "-o", `type=tar,dest=${tar}`, split("f")]);
    expect(spawnSync("tar", ["-tf", tar], { encoding: "utf8" }).stdout.split("\n").sort()).toEqual([
      "",
      "f",
      "provenance.json",
    ]);
    const plain = newFolder("out");
    await built(["-o", plain, split("f")]);
    expect(list(plain)).toEqual(["f"]);
  });

  it("platforms have a folder each, unless that is not wanted", async () => {
    const out = newFolder("out");
    await built([...platforms, "-o", out, split("f")]);
    expect(list(out)).toEqual(["linux_amd64", "linux_amd64/f", "linux_arm64", "linux_arm64/f"]);
    const tar = join(newFolder("out"), "t.tar");
    await built([...platforms, "-o", `type=tar,dest=${tar}`, split("f")]);
    expect(spawnSync("tar", ["-tf", tar], { encoding: "utf8" }).stdout).toContain("linux_arm64/f\n");
    const flat = newFolder("out");
    const all = ["--provenance=mode=min", ...platforms];
    await built([...all, "-o", `type=local,platform-split=false,dest=${flat}`, split("f-$TARGETARCH")]);
    expect(list(flat)).toEqual([
      "f-amd64",
      "f-arm64",
      "provenance.linux_amd64.json",
      "provenance.linux_arm64.json",
    ]);
    const same = await build([
      ...platforms,
      "-o",
      `type=local,platform-split=false,dest=${flat}`,
      split("f"),
    ]);
    expect(same.status).toBe(1);
    expect(same.stderr).toContain(
      "cannot overwrite f from linux/amd64 with linux/arm64 when split option is disabled",
    );
    const one = newFolder("out");
    await built(["-o", `type=local,platform-split=true,dest=${one}`, split("f")]);
    expect(list(one)).toHaveLength(2);
  });

  it("links to the root of a platform's folder lead into it", async () => {
    const folder = newFolder("links");
    mkdirSync(join(folder, "d"));
    symlinkSync("/d/f", join(folder, "d/absolute"));
    symlinkSync("f", join(folder, "d/relative"));
    writeFileSync(join(folder, "Dockerfile"), "FROM scratch\nCOPY d /d\n");
    const [several, one] = [newFolder("out"), newFolder("out")];
    await built([...platforms, "-o", several, folder]);
    expect(readlinkSync(join(several, "linux_arm64/d/absolute"))).toBe("/linux_arm64/d/f");
    expect(readlinkSync(join(several, "linux_arm64/d/relative"))).toBe("f");
    await built(["-o", one, folder]);
    expect(readlinkSync(join(one, "d/absolute"))).toBe("/d/f");
  });

  it("images are pushed by their digest alone, or called by it", async () => {
    const metadata = join(newFolder("meta"), "m.json");
    const push = `type=image,name=${services.registry}/by-digest,push-by-digest=true,push=true`;
    await built(["--metadata-file", metadata, "-o", push, split("f")]);
    const { "containerimage.digest": digest } = JSON.parse(readFileSync(metadata, "utf8")) as Record<
      string,
      string
    >;
    const tags = await fetch(`http://${services.registry}/v2/by-digest/tags/list`);
    expect(((await tags.json()) as { tags: unknown }).tags ?? []).toEqual([]);
    expect((await manifest(`by-digest:${digest}`))["mediaType"]).toContain("index");
    const tagged = await build(["-o", push.replace("by-digest,", "by-digest:1,"), split("f")]);
    expect(tagged.stderr).toContain("can't push tagged ref");
    await built(["--metadata-file", metadata, "-o", "type=image,dangling-name-prefix=none", split("f")]);
    expect(JSON.parse(readFileSync(metadata, "utf8"))).toMatchObject({
      "image.name": expect.stringMatching(/^none@sha256:/) as string,
    });
  });

  it("what is said of an image can be an artifact", async () => {
    const name = `${services.registry}/artifact:1`;
    await built(["-o", `type=image,name=${name},push=true,oci-artifact=true`, split("f")]);
    const { manifests } = (await manifest("artifact:1")) as { manifests: { digest: string }[] };
    expect(await manifest(`artifact:${manifests[1]!.digest}`)).toMatchObject({
      artifactType: "application/vnd.docker.attestation.manifest.v1+json",
      config: { mediaType: "application/vnd.oci.empty.v1+json", size: 2 },
      subject: { digest: manifests[0]!.digest },
    });
  });
});

describe("history", () => {
  it("lists builds, shows their logs, forgets them", async () => {
    await built([context({ Dockerfile: `FROM ${services.base}\nRUN echo said-once\n` })]);
    await build([context({ Dockerfile: `FROM ${services.base}\nRUN exit 7\n` })]);
    const list = (await daemon.buildx(["history", "ls"])).stdout;
    expect(list).toMatch(/Error/);
    expect(list).toMatch(/Completed/);
    const ref = /^(\w{20,})\s.*Completed/m.exec(list)![1]!;
    expect((await daemon.buildx(["history", "logs", "--progress=plain", ref])).stderr).toContain("said-once");
    expect((await daemon.buildx(["history", "inspect", ref])).stdout).toMatch(/Build Steps:\s+\d+\/\d+/);
    await daemon.buildx(["history", "rm", "--all"]);
    expect((await daemon.buildx(["history", "ls"])).stdout.trim().split("\n")).toHaveLength(1);
    const files = readdirSync(join(daemon.root, "history"), { recursive: true, withFileTypes: true });
    expect(files.filter((file) => file.isFile())).toEqual([]);
  });
});

describe("traces", () => {
  it("are taken in, passed on, and kept with the build", async () => {
    const received: ExportTraceServiceRequest[] = [];
    const collector = createHttpServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        expect(request.headers["x-key"]).toBe("a b");
        received.push(fromBinary(ExportTraceServiceRequestSchema, Buffer.concat(chunks)));
        response.end();
      });
    });
    await once(collector.listen(0, "127.0.0.1"), "listening");
    const traced = await startDaemon(services.work, [], {
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${(collector.address() as AddressInfo).port}`,
      OTEL_EXPORTER_OTLP_PROTOCOL: "http/protobuf",
      OTEL_EXPORTER_OTLP_HEADERS: "x-key=a%20b",
    });
    const folder = context({ Dockerfile: `FROM ${services.base}\nRUN echo traced\n` });
    expect((await traced.buildx(["build", folder])).status).toBe(0);
    const names = (): string[] =>
      received.flatMap(({ resourceSpans }) =>
        resourceSpans.flatMap(({ scopeSpans }) =>
          scopeSpans.flatMap(({ spans }) => spans.map(({ name }) => name)),
        ),
      );
    await expect.poll(names).toContain("[2/2] RUN echo traced");
    expect(names()).toContain("moby.buildkit.v1.Control/Solve");

    const client = new LlbClient(traced.socket);
    const [event] = await client.history();
    const { Ref } = event!.record!;
    await client.control.updateBuildHistory({ Ref, Finalize: true });
    const [finalized] = await client.history();
    const { mediaType, digest } = finalized!.record!.trace!;
    expect(mediaType).toBe("application/vnd.buildkit.otlp.json.v0");
    const blob = join(traced.root, "history", "blobs", digest.replace("sha256:", ""));
    const spans = readFileSync(blob, "utf8")
      .trim()
      .split("\n")
      .map(
        (line) => JSON.parse(line) as { Name: string; StartTime: string; SpanContext: { TraceID: string } },
      );
    expect(spans.map(({ Name }) => Name)).toEqual(
      expect.arrayContaining(["moby.buildkit.v1.Control/Solve", "[2/2] RUN echo traced"]),
    );
    expect(new Set(spans.map(({ SpanContext }) => SpanContext.TraceID)).size).toBe(1);
    expect(Date.parse(spans[0]!.StartTime)).toBeGreaterThan(Date.now() - 600_000);
    await traced.buildx(["history", "rm", "--all"]);
    expect(existsSync(blob)).toBe(false);

    // a client that traces itself, and sends its spans to the daemon
    const [traceId, spanId] = [Buffer.alloc(16, 7), Buffer.alloc(8, 9)];
    const traceparent = `00-${traceId.toString("hex")}-${spanId.toString("hex")}-01`;
    await client.solve(undefined, undefined, [], { headers: { traceparent } });
    const times = { startTimeUnixNano: 1n, endTimeUnixNano: 2n };
    const span = { traceId, spanId, name: "of the client", ...times };
    await client.traces.export({ resourceSpans: [{ scopeSpans: [{ spans: [span] }] }] });
    await expect.poll(names).toContain("of the client");
    const [mine] = await client.history();
    await client.control.updateBuildHistory({ Ref: mine!.record!.Ref, Finalize: true });
    const [kept] = await client.history();
    const lines = readFileSync(
      join(traced.root, "history", "blobs", kept!.record!.trace!.digest.replace("sha256:", "")),
      "utf8",
    );
    expect(lines).toMatch(
      /"Name":"moby.buildkit.v1.Control\/Solve".*"Parent":\{"TraceID":"(07)+","SpanID":"(09)+"/,
    );
    expect(lines).toContain('"Name":"of the client"');
    client.close();
    await traced.stop();
    collector.close();
  });
});

describe("clients", () => {
  const sleeping = (): string => `FROM ${services.base}\nRUN echo started && sleep 1234\n`;
  async function started(args: readonly string[]) {
    const client = daemon.startBuildx(["build", "--progress=plain", "--no-cache", ...args]);
    let text = "";
    client.stderr!.on("data", (chunk: Buffer) => (text += chunk.toString()));
    for (let i = 0; i < 300 && !/^#\d+ [\d.]+ started/m.test(text); i++) await sleep(50);
    expect(text).toMatch(/^#\d+ [\d.]+ started/m);
    return client;
  }
  const runs = (): boolean =>
    readdirSync("/proc").some((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8") === "sleep\x001234\x00";
      } catch {
        return false;
      }
    });
  async function ends(): Promise<void> {
    for (let i = 0; i < 100 && runs(); i++) await sleep(50);
    expect(runs()).toBe(false);
  }

  it("that cancel, or vanish, end their build", async () => {
    const folder = context({ Dockerfile: sleeping() });
    for (const signal of ["SIGINT", "SIGKILL"] as const) {
      const client = await started([folder]);
      expect(runs()).toBe(true);
      client.kill(signal);
      await ends();
    }
  });

  it("at once get what they want, and common steps run once", async () => {
    const folder = context({ Dockerfile: `FROM ${services.base}\nRUN sleep 1; date +%N > /once\n` });
    const outs = Array.from({ length: 5 }, () => newFolder("out"));
    await Promise.all(outs.map((out) => built(["--output", out, folder])));
    expect(new Set(outs.map((out) => readFileSync(join(out, "once"), "utf8"))).size).toBe(1);
  });

  it("do not lose what they share with one that cancels", async () => {
    const own = await startDaemon(services.work);
    const noise = makeContext(services.work, { Dockerfile: `FROM ${services.base}\nCOPY f /\n` });
    writeFileSync(join(noise, "f"), randomBytes(30 << 20));
    const image = `${services.registry}/large:1`;
    expect((await own.buildx(["build", "--push", "-t", image, noise])).status).toBe(0);
    await own.buildx(["prune", "--all", "--force"]);
    // both unpack the same layers, which takes a while; one gives up meanwhile
    const runs = ["one", "two"].map((text) => context({ Dockerfile: `FROM ${image}\nRUN echo ${text}\n` }));
    for (const delay of [150, 300, 450]) {
      const first = own.startBuildx(["build", "--progress=plain", runs[0]!]);
      const second = own.buildx(["build", "--progress=plain", runs[1]!]);
      await sleep(delay);
      first.kill("SIGINT");
      const { status, stderr } = await second;
      expect(`${status} ${stderr}`).toMatch(/^0 /);
      await own.buildx(["prune", "--all", "--force"]);
    }
    await own.stop();
  });

  it("see the daemon end in order, and nothing is left", async () => {
    const other = await startDaemon(services.work);
    const client = other.startBuildx(["build", "--progress=plain", context({ Dockerfile: sleeping() })]);
    for (let i = 0; i < 200 && !runs(); i++) await sleep(50);
    expect(runs()).toBe(true);
    const closed = once(client, "close");
    const begin = Date.now();
    expect(await other.stop()).toBe(0);
    expect(Date.now() - begin).toBeLessThan(5000);
    expect((await closed)[0]).not.toBe(0);
    await ends();
    expect(readFileSync("/proc/mounts", "utf8")).not.toContain(other.root);
    expect(existsSync(other.socket)).toBe(false);
  });
});

it("everything can be pruned", async () => {
  await daemon.buildx(["prune", "--all", "--force"]);
  expect((await daemon.buildx(["du"])).stdout).toMatch(/Total:\s+0B/);
});
