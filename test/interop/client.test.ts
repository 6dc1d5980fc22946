// bluekiln as a client: builders that docker buildx knows as well, and builds in a daemon.
import { once } from "node:events";
import {
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { makeCertificates } from "../support/certificates.js";
import { startDaemon, type TestDaemon } from "../support/daemon.js";
import {
  bluekilnAside,
  freePort,
  KEY,
  makeContext,
  start,
  startServices,
  type Outcome,
  type Services,
} from "../support/services.js";

let services: Services;
let daemon: TestDaemon;
let builder: string;

beforeAll(async () => {
  services = await startServices();
  daemon = await startDaemon(services.work, ["--allow-insecure-entitlement=network.host"], {
    AZURE_STORAGE_CONNECTION_STRING: `DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=${KEY};BlobEndpoint=${services.azure}`,
  });
  builder = `unix://${daemon.socket}`;
});
afterAll(async () => {
  await daemon.stop();
  services.stop();
});

const newFolder = (name: string): string => mkdtempSync(join(services.work, `${name}-`));
const context = (files: Record<string, string>): string => makeContext(services.work, files);
const build = (args: readonly string[], env: Record<string, string> = {}): Promise<Outcome> =>
  bluekilnAside(["build", "--progress=plain", "--builder", builder, ...args], env);
async function built(args: readonly string[], env: Record<string, string> = {}): Promise<string> {
  const { status, stderr } = await build(args, env);
  expect(`${status} ${stderr}`).toMatch(/^0 /);
  return stderr;
}
const cachedSteps = (stderr: string): number => [...stderr.matchAll(/^#\d+ CACHED$/gm)].length;

describe("builders", () => {
  it("are created, used, listed and removed here and in docker buildx, whoever made them", async () => {
    const env = { BUILDX_CONFIG: newFolder("buildx"), BUILDX_BUILDER: "" };
    const ours = (...args: string[]): Promise<Outcome> => bluekilnAside(args, env);
    const theirs = (...args: string[]): Promise<Outcome> => daemon.buildx(args, { env });
    expect(await ours("create", "--name", "one", "--use", builder)).toMatchObject({ stdout: "one\n" });
    const their = await theirs("create", "--name", "Two", "--driver", "remote", "unix:///nowhere.sock");
    expect(their.stdout).toBe("Two\n");

    expect((await theirs("ls")).stdout).toMatch(/^one\*\s+remote\s*\n.*one0\s.*running/m);
    const listed = (await ours("ls")).stdout;
    expect(listed).toMatch(/^one\*\s+remote\s*\n.*one0\s.*running\s+v[\d.]+\s+linux\//m);
    expect(listed).toMatch(/^Two\s+remote\s*\n.*two0\s.*inactive/m);
    expect(listed).toMatch(/^default\s+embedded\s+running/m);
    const json = (await ours("ls", "--format", "json")).stdout.trim().split("\n");
    expect(json.map((line) => (JSON.parse(line) as { Name: string }).Name)).toEqual([
      "Two",
      "one",
      "default",
    ]);

    const [mine, real] = [await ours("inspect"), await theirs("inspect")];
    expect(mine.stdout).toBe(real.stdout);
    expect((await ours("inspect", "two")).stdout).toMatch(/Status:\s+inactive\nError:\s+failed to connect/);

    expect((await ours("use", "Two")).status).toBe(0);
    expect((await theirs("ls")).stdout).toMatch(/^Two\*/m);
    expect((await ours("use", "default")).status).toBe(0);
    expect((await ours("ls")).stdout).toMatch(/^default\*/m);
    expect((await theirs("use", "one")).status).toBe(0);
    expect((await ours("ls")).stdout).toMatch(/^one\*/m);

    expect(await ours("rm", "--all-inactive", "-f")).toMatchObject({ status: 0, stderr: "Two removed\n" });
    expect((await theirs("rm", "one")).status).toBe(0);
    expect((await ours("ls")).stdout).not.toContain("one");
  });

  it("are refused in words", async () => {
    const env = { BUILDX_CONFIG: newFolder("buildx"), BUILDX_BUILDER: "" };
    const said = async (...args: string[]): Promise<string> => {
      const { status, stderr } = await bluekilnAside(args, env);
      expect(status).toBe(1);
      return stderr;
    };
    expect(await said("create", "--driver", "remote")).toContain("no remote endpoint provided");
    expect(await said("create", "--driver", "remote", "http://x")).toContain("unrecognized url scheme http");
    expect(await said("create", "--driver", "docker")).toContain("Switch to a different driver");
    expect(await said("create", "--driver", "kubernetes")).toContain("not supported yet");
    expect(await said("create", "--driver", "nix", builder)).toContain('failed to find driver "nix"');
    expect(await said("create", "--name", "1x", builder)).toContain("needs to start with a letter");
    expect(await said("create", "--name", "default", builder)).toContain("reserved name");
    expect(await said("create", "--driver-opt", "foo=1", builder)).toContain("invalid driver option foo");
    expect(await said("use", "nobody")).toContain('no builder "nobody" found');
    expect(await said("rm", "nobody")).toContain('failed to remove nobody: no builder "nobody" found');
    expect(await said("build", "--builder", "nobody", ".")).toContain('no builder "nobody" found');
    expect(await said("du", "--builder", "unix:///nowhere.sock")).toBe(
      "ERROR: failed to connect to unix:///nowhere.sock: no such file or directory\n",
    );
  });

  it("that cannot be driven yet are passed over with a word, and an error where they are named", async () => {
    const env = { BUILDX_CONFIG: newFolder("buildx"), BUILDX_BUILDER: "" };
    const instances = join(env.BUILDX_CONFIG, "instances");
    mkdirSync(instances);
    const instance = { Name: "dc", Driver: "docker-container", Nodes: [], Dynamic: false };
    writeFileSync(join(instances, "dc"), JSON.stringify(instance));
    await bluekilnAside(["use", "dc"], env);
    const folder = context({ Dockerfile: "FROM scratch\nCOPY Dockerfile /\n" });
    const here = ["--state-dir", newFolder("state"), folder];
    const passed = await bluekilnAside(["build", ...here], env);
    expect(`${passed.status} ${passed.stderr}`).toMatch(/^0 WARNING: builder "dc" .*docker-container/);
    const named = await bluekilnAside(["build", "--builder", "dc", ...here], env);
    expect(named).toMatchObject({ status: 1 });
    expect(named.stderr).toContain('driver "docker-container" is not supported yet');
  });

  it("are reached over tcp with certificates of both sides", async () => {
    const { ca, client, daemonFlags } = makeCertificates(newFolder("tls"));
    const address = `tcp://127.0.0.1:${await freePort()}`;
    const secure = await startDaemon(services.work, ["--addr", address, ...daemonFlags]);
    const env = { BUILDX_CONFIG: newFolder("buildx"), BUILDX_BUILDER: "" };
    const options = `cacert=${ca},cert=${client.cert},key=${client.key}`;
    const create = ["create", "--bootstrap", "--use", "--driver-opt", options, address];
    expect((await bluekilnAside(create, env)).status).toBe(0);
    const out = newFolder("out");
    const folder = context({ Dockerfile: "FROM scratch\nCOPY f /\n", f: "over tls" });
    expect((await bluekilnAside(["build", "-o", out, folder], env)).status).toBe(0);
    expect(readFileSync(join(out, "f"), "utf8")).toBe("over tls");
    const open = await bluekilnAside(["create", "--bootstrap", "--driver-opt", `cacert=${ca}`, address], env);
    expect(open).toMatchObject({ status: 1 });
    expect(open.stderr).toContain(`failed to connect to ${address}`);
    await secure.stop();
  });
});

describe("a build in a daemon", () => {
  it("pushes, and keeps its cache in Azure with the daemon's credentials", async () => {
    const folder = context({
      Dockerfile: `FROM ${services.base}\nCOPY f /\nRUN cat /f > /g\nRUN echo last\n`,
      f: `content ${Math.random()}`,
    });
    const cache = `type=azblob,name=app,container=client,account_url=${services.azure},account_name=devstoreaccount1`;
    const metadata = join(newFolder("meta"), "m.json");
    const image = `${services.registry}/client:1`;
    const push = ["--push", "-t", image, "--metadata-file", metadata];
    const first = await built([...push, "--cache-to", `${cache},mode=max`, folder]);
    expect(cachedSteps(first)).toBe(0);
    const { "containerimage.digest": digest, ...rest } = JSON.parse(readFileSync(metadata, "utf8")) as Record<
      string,
      unknown
    >;
    expect(digest).toMatch(/^sha256:/);
    expect(rest["buildx.build.ref"]).toMatch(/^unix:.*\/[0-9a-f]{25}$/);
    expect(rest["image.name"]).toBe(image);
    await bluekilnAside(["prune", "-af", "--builder", builder]);
    const second = await built(["--cache-from", cache, "-o", newFolder("out"), folder]);
    expect(cachedSteps(second)).toBeGreaterThanOrEqual(3);
  });

  it("is lent secrets and agents", async () => {
    const folder = context({
      Dockerfile: `FROM ${services.base}
RUN --mount=type=secret,id=s,required cat /run/secrets/s | tr a-z A-Z > /upper
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
    await built([...lent, "--output", out, folder], { E: "of-env" });
    agent.close();
    expect(readFileSync(join(out, "upper"), "utf8")).toBe("OF-FILE");
    const missing = await build(["--no-cache", folder]);
    expect(missing.status).toBe(1);
    expect(missing.stderr).toMatch(
      /secret s: not found[^]*Dockerfile:2\n[^]*>>> RUN --mount=type=secret,id=s,required/,
    );
  });

  it("takes the context as it is: patterns, links, odd names", async () => {
    const folder = context({
      Dockerfile: `FROM ${services.base}\nCOPY . /c/\nRUN cd /c && find . | sort > /list && stat -c '%u %h' a/hard >> /list\n`,
      ".dockerignore": "no\nno-not/*\n!no-not/but\n",
      no: "x",
      "no-not/x": "x",
      "no-not/but": "x",
      "a/hard": "one",
      "ü/日本 語.txt": "x",
      empty: "",
    });
    linkSync(join(folder, "a/hard"), join(folder, "a/link"));
    symlinkSync("../empty", join(folder, "a/sym"));
    writeFileSync(Buffer.concat([Buffer.from(`${folder}/latin-`), Buffer.from([0xe9])]), "x");
    const out = newFolder("out");
    await built(["-o", out, folder]);
    const list = readFileSync(join(out, "list"), "latin1").trim().split("\n");
    const name = (text: string): string => Buffer.from(text).toString("latin1");
    expect(list).toEqual([
      ".",
      "./.dockerignore",
      "./Dockerfile",
      "./a",
      "./a/hard",
      "./a/link",
      "./a/sym",
      "./empty",
      "./latin-\xe9",
      "./no-not",
      "./no-not/but",
      name("./ü"),
      name("./ü/日本 語.txt"),
      "0 2",
    ]);
    expect(readdirSync(join(out, "c"), "latin1")).toContain("latin-\xe9");
  });

  it("writes into a folder that has something, and never through its links", async () => {
    const folder = context({ Dockerfile: "FROM scratch\nCOPY d /d/\nCOPY d /e/\n", "d/f": "new" });
    const [out, outside] = [newFolder("out"), newFolder("outside")];
    mkdirSync(join(out, "d"));
    writeFileSync(join(out, "d", "kept"), "kept");
    writeFileSync(join(out, "d", "f"), "old, and longer");
    symlinkSync(outside, join(out, "e"));
    await built(["-o", out, folder]);
    expect(readFileSync(join(out, "d", "f"), "utf8")).toBe("new");
    expect(readFileSync(join(out, "d", "kept"), "utf8")).toBe("kept");
    expect(readdirSync(outside)).toEqual([]);
    expect(lstatSync(join(out, "e")).isDirectory()).toBe(true);
  });

  it("writes archives, layouts and caches of this machine", async () => {
    const folder = context({ Dockerfile: "FROM scratch\nCOPY f /\nCOPY f /g\n", f: `${Math.random()}` });
    const out = newFolder("out");
    const [oci, tar, layout, cache] = ["oci.tar", "rootfs.tar", "layout", "cache"].map((name) =>
      join(out, name),
    );
    await built([
      ...["-t", "example.com/a:2", "-o", `type=oci,dest=${oci}`, "-o", `type=tar,dest=${tar}`],
      ...[
        "-o",
        `type=oci,tar=false,dest=${layout}`,
        "--cache-to",
        `type=local,dest=${cache},mode=max`,
        folder,
      ],
    ]);
    expect(statSync(oci!).size).toBeGreaterThan(1000);
    expect(statSync(tar!).size).toBeGreaterThan(1000);
    const indexOf = (of: string): { manifests: { annotations: Record<string, string> }[] } =>
      JSON.parse(readFileSync(join(of, "index.json"), "utf8")) as ReturnType<typeof indexOf>;
    expect(indexOf(layout!).manifests.map(({ annotations }) => annotations)).toEqual([
      { "io.containerd.image.name": "example.com/a:2", "org.opencontainers.image.ref.name": "2" },
    ]);
    expect(existsSync(join(layout!, "ingest"))).toBe(false);

    await bluekilnAside(["prune", "-af", "--builder", builder]);
    expect(
      cachedSteps(await built(["--cache-from", `type=local,src=${cache}`, "-o", newFolder("out"), folder])),
    ).toBe(2);
    const absent = await built(["--cache-from", "type=local,src=/nowhere", "-o", newFolder("out"), folder]);
    expect(absent).toContain("local cache import at /nowhere not found");
    const user = context({ Dockerfile: "FROM base\nCOPY --from=base /f /again\n" });
    await built(["--build-context", `base=oci-layout://${layout}:2`, "-o", join(out, "files"), user]);
    expect(readdirSync(join(out, "files")).sort()).toEqual(["again", "f", "g"]);
  });

  it("answers --check and --call as a build here does", async () => {
    const folder = context({
      Dockerfile: "from scratch as last\nARG a=1\nCOPY . /\nRUN --mount=type=secret,id=s true\n",
    });
    for (const call of [
      "check",
      "check,format=json",
      "outline",
      "outline,format=json",
      "targets",
      "targets,format=json",
    ]) {
      const [there, here] = [
        await build(["--call", call, folder]),
        await bluekilnAside([
          "build",
          "--builder",
          "default",
          "--state-dir",
          newFolder("state"),
          "--call",
          call,
          folder,
        ]),
      ];
      expect(there.stdout).toBe(here.stdout);
      expect(there.status).toBe(here.status);
    }
  });

  it("fails with the place in the Dockerfile, and what was printed", async () => {
    const folder = context({ Dockerfile: `FROM ${services.base}\nRUN echo words && exit 7\n` });
    const { status, stderr } = await build([folder]);
    expect(status).toBe(1);
    expect(stderr).toMatch(/------\n > \[2\/2\] RUN echo words && exit 7:\n[\d.]+ words\n------/);
    expect(stderr).toMatch(/Dockerfile:2\n-+\n.*\n.*>>> RUN echo words/);
    expect(stderr).toContain(
      'process "/bin/sh -c echo words && exit 7" did not complete successfully: exit code: 7',
    );
  });

  it("shows the linter's warnings", async () => {
    const folder = context({ Dockerfile: "from scratch\nCOPY . /\n" });
    const stderr = await built(["-o", newFolder("out"), folder]);
    expect(stderr).toContain("1 warning found (use docker --debug to expand)");
    expect(stderr).toContain("- ConsistentInstructionCasing: Command 'from' should match");
  });

  it("ends in the daemon when it is canceled here", async () => {
    const folder = context({ Dockerfile: `FROM ${services.base}\nRUN echo started && sleep 1000.5\n` });
    const child = start(["build", "--progress=plain", "--builder", builder, folder]);
    let said = "";
    child.stderr!.on("data", (data: Buffer) => {
      const wasRunning = /\d started/.test(said);
      said += data.toString();
      if (!wasRunning && /\d started/.test(said)) child.kill("SIGINT");
    });
    expect(await once(child, "close")).toEqual([130, null]);
    await expect.poll(() => running("sleep 1000.5"), { timeout: 10_000 }).toBe(false);
  });

  it("says so when the daemon goes away", async () => {
    const other = await startDaemon(services.work);
    const folder = context({ Dockerfile: `FROM ${services.base}\nRUN echo started && sleep 1000.6\n` });
    const child = start(["build", "--progress=plain", "--builder", `unix://${other.socket}`, folder]);
    let said = "";
    child.stderr!.on("data", (data: Buffer) => {
      const wasRunning = /\d started/.test(said);
      said += data.toString();
      if (!wasRunning && /\d started/.test(said)) process.kill(other.pid, "SIGKILL");
    });
    expect(await once(child, "close")).toEqual([1, null]);
    expect(said).toContain("ERROR: failed to build: failed to solve: the builder closed the connection");
  });

  it("is asked for its storage, which is removed", async () => {
    await built(["-o", newFolder("out"), context({ Dockerfile: "FROM scratch\nCOPY Dockerfile /\n" })]);
    const ours = await bluekilnAside(["du", "--builder", builder]);
    expect(ours.stdout).toMatch(/^ID\s+RECLAIMABLE[^]*Total:\s+\d/);
    expect((await bluekilnAside(["prune", "-af", "--builder", builder])).stdout).toMatch(/Total:\s+\d/);
    expect((await bluekilnAside(["du", "--builder", builder])).stdout).toMatch(/Total:\s+0B/);
  });
});

function running(command: string): boolean {
  return readdirSync("/proc").some((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      return readFileSync(`/proc/${pid}/cmdline`, "latin1").replaceAll("\0", " ").trim() === command;
    } catch {
      return false;
    }
  });
}
