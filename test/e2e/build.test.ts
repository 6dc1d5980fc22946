// What users do with a build besides pushing it: outputs, contexts, secrets, mounts, users.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bluekiln, makeContext, ROOT, startServices, type Services } from "../support/services.js";
import { pushScanner, readSbom, type SpdxDocument } from "../support/scanner.js";

let services: Services;
let state: string;
beforeAll(async () => {
  services = await startServices();
  state = mkdtempSync(join(services.work, "state-"));
});
afterAll(() => services.stop());

interface Annotated {
  readonly digest: string;
  readonly annotations?: Record<string, string>;
  readonly manifests?: readonly Annotated[];
}

const build = (args: string[], options: Parameters<typeof bluekiln>[1] = {}) =>
  bluekiln(["build", "--state-dir", state, ...args], options);
const out = (name: string): string => join(services.work, name);

/** Builds a Dockerfile and gives the files of its last stage. */
function filesOf(
  name: string,
  dockerfile: string,
  args: string[] = [],
  files: Record<string, string> = {},
): (path: string) => string {
  const context = makeContext(services.work, { Dockerfile: dockerfile, ...files });
  const result = build([...args, "--output", out(name), context]);
  expect(result.stderr).not.toContain("ERROR");
  return (path) => readFileSync(join(out(name), path), "utf8");
}

describe("outputs", () => {
  it("writes a folder, a tar, an OCI archive and a docker archive", () => {
    const context = makeContext(services.work, { Dockerfile: "FROM scratch\nCOPY f /dir/f\n", f: "1" });
    const result = build([
      ...["--output", `type=local,dest=${out("folder")}`, "--output", `type=tar,dest=${out("out.tar")}`],
      ...["--output", `type=oci,dest=${out("oci.tar")}`, "--output", `type=docker,dest=${out("docker.tar")}`],
      ...["-t", "example.com/app:1", "--iidfile", out("iid"), "--metadata-file", out("meta.json"), context],
    ]);
    expect(result.stderr).not.toContain("ERROR");
    const list = (file: string): string[] =>
      spawnSync("tar", ["-tf", out(file)], { encoding: "utf8" })
        .stdout.trim()
        .split("\n");
    expect(readFileSync(join(out("folder"), "dir/f"), "utf8")).toBe("1");
    expect(list("out.tar")).toEqual(["dir/", "dir/f"]);
    expect(list("oci.tar")).toContain("oci-layout");
    const manifest = JSON.parse(
      spawnSync("tar", ["-xOf", out("docker.tar"), "manifest.json"], { encoding: "utf8" }).stdout,
    ) as { RepoTags: string[] }[];
    expect(manifest[0]!.RepoTags).toEqual(["example.com/app:1"]);
    const metadata = JSON.parse(readFileSync(out("meta.json"), "utf8")) as Record<string, string>;
    expect(metadata["containerimage.digest"]).toBe(readFileSync(out("iid"), "utf8"));
    expect(metadata["image.name"]).toBe("example.com/app:1");
  });

  it("writes an image of nothing as Go does", () => {
    const context = makeContext(services.work, { Dockerfile: "FROM scratch\n" });
    const { stderr } = build(["--output", `type=oci,dest=${out("nothing.tar")}`, context]);
    expect(stderr).not.toContain("ERROR");
    const { stdout } = spawnSync("tar", ["-xOf", out("nothing.tar"), "--wildcards", "blobs/sha256/*"], {
      encoding: "utf8",
    });
    expect(stdout).toContain('"history":null');
    expect(stdout).toContain('"diff_ids":null');
  });

  it("puts annotations on manifests, on the index and on its entries", () => {
    const context = makeContext(services.work, { Dockerfile: "FROM scratch\nCOPY f /f\n", f: "1" });
    const archive = out("annotated.tar");
    const args = ["--platform", "linux/amd64,linux/arm64", "--output", `type=oci,dest=${archive}`];
    for (const text of [
      "a=1",
      "manifest[linux/arm64]:b=2",
      "index:c=3",
      "manifest-descriptor[linux/amd64]:d=4",
    ])
      args.push("--annotation", text);
    const result = build([...args, context]);
    expect(result.stderr).not.toContain("ERROR");
    const read = (path: string) =>
      JSON.parse(spawnSync("tar", ["-xOf", archive, path], { encoding: "utf8" }).stdout) as Annotated;
    const blob = ({ digest }: { digest: string }) => read(`blobs/sha256/${digest.slice(7)}`);
    const index = blob(read("index.json").manifests![0]!);
    expect(index.annotations).toEqual({ c: "3" });
    expect(index.manifests!.map((entry) => entry.annotations)).toEqual([{ d: "4" }, undefined]);
    expect(index.manifests!.map((entry) => blob(entry).annotations)).toEqual([
      { a: "1" },
      { a: "1", b: "2" },
    ]);

    for (const [text, message] of [
      ["index:a=1", "index annotations not supported for single platform export"],
      ["what:a=1", 'unknown annotation type "what"'],
      ["a", "expected key=value"],
    ] as const) {
      const refused = build(["--annotation", text, context]);
      expect(refused.status).toBe(1);
      expect(refused.stderr).toContain(message);
    }
  });

  it("tells where an image comes from, if it is asked to", () => {
    const context = makeContext(services.work, {
      Dockerfile: `FROM ${services.base}\nARG A\nCOPY f /\n`,
      f: "1",
    });
    const layout = (name: string, ...args: string[]): ((digest: string) => Record<string, unknown>) => {
      const folder = out(name);
      mkdirSync(folder);
      const archive = join(folder, "a.tar");
      const result = build(["--output", `type=oci,dest=${archive}`, "-t", "app:1", ...args, context]);
      expect(`${result.status} ${result.stderr}`).toMatch(/^0 /);
      spawnSync("tar", ["xf", archive, "-C", folder]);
      return (path) => JSON.parse(readFileSync(join(folder, path), "utf8")) as Record<string, unknown>;
    };
    const top = (read: (path: string) => Record<string, unknown>) =>
      read(`blobs/sha256/${(read("index.json")["manifests"] as Annotated[])[0]!.digest.slice(7)}`);
    expect(top(layout("prov-none"))["layers"]).toBeDefined();
    const read = layout("prov-max", "--provenance=mode=max", "--build-arg", "A=1");
    const [image, attestation] = top(read)["manifests"] as Annotated[];
    expect(attestation!.annotations).toEqual({
      "vnd.docker.reference.digest": image!.digest,
      "vnd.docker.reference.type": "attestation-manifest",
    });
    const manifest = read(`blobs/sha256/${attestation!.digest.slice(7)}`)["layers"] as Annotated[];
    const statement = read(`blobs/sha256/${manifest[0]!.digest.slice(7)}`);
    expect(statement).toMatchObject({
      subject: [
        { name: "pkg:docker/app@1?platform=linux%2Famd64", digest: { sha256: image!.digest.slice(7) } },
      ],
      predicate: { invocation: { parameters: { args: { "build-arg:A": "1" } } } },
    });
    expect(build(["--provenance=mode=most", context]).stderr).toContain('invalid mode "most"');
  });

  it("tells what is in an image, if it is asked to", async () => {
    const scanner = await pushScanner(services);
    const context = makeContext(services.work, { Dockerfile: "FROM scratch\nCOPY f /app\n", f: "1" });
    const folder = out("sbom");
    const attest = ["--attest", `type=sbom,generator=${scanner},COLOR=blue`];
    expect(build([...attest, "--output", folder, context]).stderr).toContain("generating sbom using");
    expect(readSbom(folder, "sbom.spdx.json")).toEqual({ files: ["/app"], color: "blue" });
    // nobody has changed anything
    expect(build([...attest, "--output", folder, context]).stderr).toMatch(
      /generating sbom using .*\n#\d+ CACHED/,
    );
    // of an image it also says which layer a file came with
    const archive = out("sbom.tar");
    build([...attest, "--output", `type=oci,dest=${archive}`, "-t", "app:1", context]);
    const read = (path: string) =>
      JSON.parse(spawnSync("tar", ["xOf", archive, path], { encoding: "utf8" }).stdout) as {
        readonly manifests: readonly Annotated[];
        readonly layers: readonly Annotated[];
        readonly predicate: SpdxDocument;
      };
    const blob = ({ digest }: Annotated) => read(`blobs/sha256/${digest.slice(7)}`);
    const [image, attestation] = blob(read("index.json").manifests[0]!).manifests;
    const { predicate } = blob(blob(attestation!).layers[0]!);
    expect(predicate.files[0]!.comment).toBe(`layerID: ${blob(image!).layers[0]!.digest}`);
    const off = out("no-sbom");
    build([...attest, "--sbom=false", "--output", off, context]);
    expect(readdirSync(off)).toEqual(["app"]);
    expect(build(["--sbom", "generator=", context]).stderr).toContain("sbom generator cannot be empty");
    const noCommand = build(["--sbom", `generator=${services.registry}/no-command:1`, context]);
    expect(noCommand.stderr).toContain("no-command:1: not found");
  });

  it("rewrites times to the same image wherever it is built", () => {
    const context = makeContext(services.work, {
      Dockerfile: `FROM ${services.base}\nCOPY d /d\nRUN mkdir /r && echo 1 > /r/f && touch -d '2001-02-03 04:05:06' /r/old\nCOPY --link d /d\n`,
      "d/f": "x",
    });
    const epoch = 1_700_000_000;
    const image = (name: string): string[] => {
      const attributes = `type=oci,dest=${out(name)}.tar,rewrite-timestamp=true,compression=uncompressed,force-compression=true`;
      const state = mkdtempSync(join(services.work, "state-"));
      const env = { SOURCE_DATE_EPOCH: String(epoch) };
      const result = bluekiln(["build", "--state-dir", state, "--output", attributes, context], { env });
      expect(result.status).toBe(0);
      const read = (path: string): Buffer =>
        spawnSync("tar", ["-xOf", `${out(name)}.tar`, path], { maxBuffer: 1 << 28 }).stdout;
      const blob = ({ digest }: { digest: string }): Buffer => read(`blobs/${digest.replace(":", "/")}`);
      const [top] = (JSON.parse(read("index.json").toString()) as { manifests: Annotated[] }).manifests;
      const { layers } = JSON.parse(blob(top!).toString()) as { layers: Annotated[] };
      const list = (layer: Annotated): string =>
        spawnSync("tar", ["-tv", "--full-time", "--utc"], { input: blob(layer), encoding: "utf8" }).stdout;
      return [top!.digest, ...layers.slice(1).map(list)];
    };
    const first = image("times-1");
    expect(first[2]).toMatch(/2023-11-14 22:13:20 r\/f$/m);
    expect(first[2]).toMatch(/2001-02-03 04:05:06 r\/old$/m);
    // what a link copies it brings, though it is there already
    expect(first[3]).toMatch(/ d\/f$/m);
    expect(image("times-2")).toEqual(first);
  });

  it("writes a tar to standard output, however slowly it is read", () => {
    const context = makeContext(services.work, {
      Dockerfile: "FROM scratch\nCOPY f /\n",
      f: "x".repeat(3_000_000),
    });
    const command = `"$0" "$1" build --state-dir "$2" --output - "$3" | (sleep 1; tar -tv)`;
    const result = spawnSync(
      "bash",
      ["-o", "pipefail", "-c", command, process.execPath, join(ROOT, "bin", "bluekiln.js"), state, context],
      { encoding: "utf8" },
    );
    expect(result.stderr).not.toContain("ERROR");
    expect(result.status).toBe(0);
    expect(result.stdout).toContain("3000000");
  });

  it("prints just the digest with --quiet", () => {
    const result = build([
      "--quiet",
      makeContext(services.work, { Dockerfile: "FROM scratch\nCOPY f /\n", f: "1" }),
    ]);
    expect(result.stdout).toMatch(/^sha256:[a-f0-9]{64}\n$/);
    expect(result.stderr).toBe("");
  });
});

describe("contexts", () => {
  it("takes a Dockerfile from standard input, with and without a folder", () => {
    const alone = build(["--output", out("alone"), "-"], {
      input: `FROM ${services.base} AS a\nRUN echo hi > /x\nFROM scratch\nCOPY --from=a /x /\n`,
    });
    expect(alone.status).toBe(0);
    expect(readFileSync(join(out("alone"), "x"), "utf8")).toBe("hi\n");
    const context = makeContext(services.work, { f: "from the folder" });
    const result = build(["-f", "-", "--output", out("with"), context], {
      input: "FROM scratch\nCOPY f /\n",
    });
    expect(result.status).toBe(0);
    expect(readFileSync(join(out("with"), "f"), "utf8")).toBe("from the folder");
  });

  it("takes a tar from standard input", () => {
    const folder = makeContext(services.work, { Dockerfile: "FROM scratch\nCOPY f /\n", f: "tarred" });
    const tar = spawnSync("tar", ["-cz", "-C", folder, "."]).stdout;
    const result = build(["--output", out("tarred"), "-"], { input: tar });
    expect(result.status).toBe(0);
    expect(readFileSync(join(out("tarred"), "f"), "utf8")).toBe("tarred");
  });

  it("takes named contexts: folders and images", () => {
    const other = makeContext(services.work, { k: "other" });
    const context = makeContext(services.work, {
      Dockerfile: "FROM scratch\nCOPY --from=other k /k\nCOPY --from=img /etc/passwd /p\n",
    });
    const result = build([
      "--build-context",
      `other=${other}`,
      "--build-context",
      `img=docker-image://${services.base}`,
      "--output",
      out("named"),
      context,
    ]);
    expect(result.stderr).not.toContain("ERROR");
    expect(readFileSync(join(out("named"), "k"), "utf8")).toBe("other");
    expect(readFileSync(join(out("named"), "p"), "utf8")).toContain("root:");
  });

  it("builds on a named context that is a folder", () => {
    const base = makeContext(services.work, { k: "from the folder", other: "too" });
    const context = makeContext(services.work, {
      Dockerfile: "FROM folder AS a\nCOPY own /\nCOPY own /last\nFROM scratch\nCOPY --from=a / /\n",
      own: "own",
    });
    const result = build(["--build-context", `folder=${base}`, "--output", out("on-folder"), context]);
    expect(result.stderr).not.toContain("ERROR");
    expect(readdirSync(out("on-folder")).sort()).toEqual(["k", "last", "other", "own"]);
  });

  it("takes a named context from an OCI layout, by tag and by digest", () => {
    const layout = out("layout");
    mkdirSync(layout);
    const made = makeContext(services.work, {
      Dockerfile: "FROM scratch\nCOPY f /\nENV A=1\n",
      f: "in the layout",
    });
    expect(build(["--output", `type=oci,dest=${out("layout.tar")}`, "-t", "x:v1", made]).status).toBe(0);
    expect(spawnSync("tar", ["-xf", out("layout.tar"), "-C", layout]).status).toBe(0);
    const { manifests } = JSON.parse(readFileSync(join(layout, "index.json"), "utf8")) as {
      manifests: { digest: string }[];
    };
    for (const suffix of ["", ":v1", `@${manifests[0]!.digest}`]) {
      const name = `layout-out${suffix.slice(0, 4)}`;
      const named = ["--build-context", `img=oci-layout://${layout}${suffix}`];
      expect(filesOf(name, "FROM img\nCOPY g /\n", named, { g: "g" })("f")).toBe("in the layout");
    }
    const context = makeContext(services.work, { Dockerfile: "FROM img\n" });
    const missing = build(["--build-context", `img=oci-layout://${layout}:v2`, context]);
    expect(missing.status).toBe(1);
    expect(missing.stderr).toContain("could not be resolved: no such tag");
  });

  it("keeps names that are not ASCII, and empty files and folders", () => {
    const read = filesOf("names", "FROM scratch\nCOPY . /all/\n", [], { "grüße ☃.txt": "ü", "a/leer": "" });
    expect(read("all/grüße ☃.txt")).toBe("ü");
    expect(read("all/a/leer")).toBe("");
  });
});

describe("the client's surroundings", () => {
  it("give proxies, the time of the sources and the kind of progress", () => {
    const folder = makeContext(services.work, {
      "config.json": JSON.stringify({
        proxies: { default: { httpProxy: "http://proxy:1", noProxy: "here" } },
      }),
      Dockerfile: [
        `FROM ${services.base}`,
        "ARG SOURCE_DATE_EPOCH",
        "RUN echo $SOURCE_DATE_EPOCH $HTTP_PROXY $http_proxy $NO_PROXY ${HTTPS_PROXY:-none}",
        "",
      ].join("\n"),
    });
    const env = { DOCKER_CONFIG: folder, SOURCE_DATE_EPOCH: "1700000000", BUILDKIT_PROGRESS: "plain" };
    const { stderr } = build([folder], { env });
    expect(stderr).toMatch(/^#\d+ [\d.]+ 1700000000 http:\/\/proxy:1 http:\/\/proxy:1 here none$/m);
    const own = build(
      ["--build-arg", "http_proxy=http://own:2", "--build-arg", "SOURCE_DATE_EPOCH=1", folder],
      { env },
    );
    expect(own.stderr).toMatch(/ 1 http:\/\/own:2 http:\/\/own:2 here none$/m);
    expect(build(["--progress=auto", folder], { env: { BUILDKIT_PROGRESS: "quiet" } }).stderr).toBe("");
  });
});

describe("RUN", () => {
  it("gives secrets as files and variables, and leaves none behind", () => {
    const dockerfile = [
      `FROM ${services.base} AS a`,
      "RUN --mount=type=secret,id=tok wc -c < /run/secrets/tok > /len && test ! -e /nothing",
      'RUN --mount=type=secret,id=key,env=KEY echo "${#KEY}" > /envlen',
      "RUN ls /run > /run-list 2>/dev/null || true",
      "FROM scratch",
      "COPY --from=a /len /envlen /run-list /",
    ].join("\n");
    const context = makeContext(services.work, { Dockerfile: dockerfile, "token.txt": "s3cr3t-t0ken" });
    const args = [
      "--secret",
      `id=tok,src=${join(context, "token.txt")}`,
      "--secret",
      "id=key,env=MY_KEY",
      "--output",
      out("secrets"),
      context,
    ];
    const result = build(args, { env: { MY_KEY: "abc" } });
    expect(result.stderr).not.toContain("ERROR");
    const read = (name: string): string => readFileSync(join(out("secrets"), name), "utf8").trim();
    expect([read("len"), read("envlen"), read("run-list")]).toEqual(["12", "3", ""]);
    const found = spawnSync("grep", ["-rl", "s3cr3t-t0ken", state], { encoding: "utf8" }).stdout;
    expect(found).toBe("");
  });

  it("runs as the user, in the folder and with the environment of the Dockerfile", () => {
    const read = filesOf(
      "user",
      `FROM ${services.base} AS a\nENV X=1\nWORKDIR /w\nRUN chown app /w\nUSER app\nRUN echo "$(id -u):$(id -g) $(pwd) $X $HOME" > o\nFROM scratch\nCOPY --from=a /w/o /\n`,
    );
    expect(read("o").trim()).toBe("1000:1000 /w 1 /home/app");
  });

  it("opens its own outputs and input by their names in /dev", () => {
    const command =
      "cat < /dev/stdin > /in; echo out > /dev/stdout; echo err | tee /dev/stderr > /tee; wc -c < /in";
    const context = makeContext(services.work, { Dockerfile: `FROM ${services.base}\nRUN ${command}\n` });
    const result = build(["--progress=plain", context]);
    expect(result.stderr).toMatch(/^#\d+ [\d.]+ out$/m);
    expect(result.stderr).toMatch(/^#\d+ [\d.]+ err$/m);
    expect(result.stderr).toMatch(/^#\d+ [\d.]+ 0$/m);
    expect(result.status).toBe(0);
  });

  it("may start programs that it keeps in memory", () => {
    const read = filesOf(
      "tmpfs",
      `FROM ${services.base} AS a\nRUN --mount=type=tmpfs,target=/t cp /bin/busybox /t/echo && /t/echo started > /o\nFROM scratch\nCOPY --from=a /o /\n`,
    );
    expect(read("o").trim()).toBe("started");
  });

  it("finds a root that only root may write to, also on top of a linked copy", () => {
    const command = "stat -c 'root is %a %u:%g' /; touch /x || echo refused";
    const dockerfile = `FROM ${services.base}\nCOPY --link Dockerfile /\nUSER 1000:1000\nRUN ${command}\n`;
    const { stderr } = build([makeContext(services.work, { Dockerfile: dockerfile })]);
    expect(stderr).toMatch(/root is 755 0:0$/m);
    expect(stderr).toMatch(/ refused$/m);
  });

  it("finds folders with ordinary modes where something is mounted", () => {
    const dockerfile = [
      "FROM scratch AS a",
      `COPY --from=${services.base} /bin /bin`,
      "RUN --mount=target=/m/n/o stat -c %a /m /m/n > /seen",
      `FROM ${services.base} AS b`,
      "RUN --mount=from=a,target=/a stat -c %a /a/dev /a/proc /a/sys > /modes; ls /a >> /modes",
      "FROM scratch",
      "COPY --from=a /seen /",
      "COPY --from=b /modes /",
    ].join("\n");
    const read = filesOf("mount-points", dockerfile);
    expect(read("seen").trim().split("\n")).toEqual(["755", "755"]);
    expect(read("modes").trim().split("\n")).toEqual([
      "755",
      "755",
      "755",
      "bin",
      "dev",
      "proc",
      "seen",
      "sys",
    ]);
  });

  it("has no network where none is asked for", () => {
    const read = filesOf(
      "net",
      `FROM ${services.base} AS a\nRUN --network=none ip link | grep -c ': ' > /n\nRUN hostname > /h\nFROM scratch\nCOPY --from=a /n /h /\n`,
    );
    expect(read("n").trim()).toBe("1");
    expect(read("h").trim()).toBe("buildkitsandbox");
  });

  it("keeps cache mounts between builds and out of the image", () => {
    const dockerfile = (n: number): string =>
      `FROM ${services.base} AS a\nRUN --mount=type=cache,target=/c echo ${n} >> /c/log && cat /c/log > /log\nFROM scratch\nCOPY --from=a /log /\n`;
    filesOf("cm1", dockerfile(1));
    expect(filesOf("cm2", dockerfile(2))("log")).toBe("1\n2\n");
    expect(existsSync(join(out("cm2"), "c"))).toBe(false);
  });

  it("cannot change the host's time, mounts or modules", () => {
    const read = filesOf(
      "caps",
      `FROM ${services.base} AS a\nRUN (mount -t tmpfs x /tmp && echo mounted || echo refused) > /m 2>&1; grep CapEff /proc/self/status > /caps\nFROM scratch\nCOPY --from=a /m /caps /\n`,
    );
    expect(read("m")).toContain("refused");
    expect(read("caps").trim()).toBe("CapEff:\t00000000a80425fb");
  });
});

describe("layers", () => {
  it("keep owners, modes, times, links, devices and deletions", () => {
    const dockerfile = [
      `FROM ${services.base} AS a`,
      "RUN mkdir -m 1777 /s && touch -d '2001-02-03 04:05:06' /s/old && ln /s/old /s/hard && ln -s old /s/soft && chown 7:8 /s/old && chmod 4755 /s/old",
      "RUN mknod /s/null c 1 3 && rm -r /root && mkdir /root && touch /root/new && rm /etc/group",
    ].join("\n");
    const context = makeContext(services.work, { Dockerfile: dockerfile });
    const name = `${services.registry}/layers:1`;
    expect(build(["--push", "-t", name, context]).status).toBe(0);
    // pulled again on an empty state directory: what the layers say, not what the build left
    const check = makeContext(services.work, {
      Dockerfile: `FROM ${name} AS a\nRUN stat -c '%n %a %u %g %h %Y %F' /s /s/old /s/hard /s/null > /o && readlink /s/soft >> /o && ls -A /root >> /o; ls /etc >> /o\nFROM scratch\nCOPY --from=a /o /\n`,
    });
    const fresh = mkdtempSync(join(services.work, "state-"));
    const result = bluekiln(["build", "--state-dir", fresh, "--output", out("layers"), check]);
    expect(result.stderr).not.toContain("ERROR");
    const lines = readFileSync(join(out("layers"), "o"), "utf8")
      .trim()
      .split("\n");
    expect(lines[0]).toMatch(/^\/s 1777 0 0 /);
    expect(lines[1]).toBe("/s/old 4755 7 8 2 981173106 regular empty file");
    expect(lines[2]).toBe("/s/hard 4755 7 8 2 981173106 regular empty file");
    expect(lines[3]).toMatch(/^\/s\/null 644 0 0 1 \d+ character special file$/);
    // hosts and resolv.conf are mounts of the running step
    expect(lines.slice(4)).toEqual(["old", "new", "hosts", "passwd", "resolv.conf"]);
    expect(statSync(out("layers")).isDirectory()).toBe(true);
  });
});
