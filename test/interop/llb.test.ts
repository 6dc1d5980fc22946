// Graphs that a client sends itself: every op, and what a frontend may ask.
import {
  AttestationKind,
  ExecMessageSchema,
  InTotoSubjectKind,
  type ExecMessage,
  type InitMessageSchema,
} from "../../src/control/gen/buildkit/gateway_pb.js";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer as createHttpServer } from "node:http";
import type { AddressInfo } from "node:net";
import { create, toBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { digestOf } from "../../src/lib/index.js";
import { Code, decodeBinaryHeader, type ConnectError } from "@connectrpc/connect";
import { StatusSchema } from "../../src/control/gen/google/rpc/status_pb.js";
import {
  DefinitionSchema,
  MountContentCache,
  MountType,
  SecurityMode,
  SourceSchema,
} from "../../src/control/gen/buildkit/ops_pb.js";
import { Exporter } from "../../src/control/gen/buildkit/exporter_pb.js";
import { MatchType, PolicyAction } from "../../src/control/gen/buildkit/policy_pb.js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startDaemon, type TestDaemon } from "../support/daemon.js";
import {
  LlbClient,
  Process,
  definition,
  op,
  type Gateway,
  type Node,
  type Output,
} from "../support/llb-client.js";
import { startServices, type Services } from "../support/services.js";

let services: Services;
let daemon: TestDaemon;
let client: LlbClient;
beforeAll(async () => {
  services = await startServices();
  daemon = await startDaemon(services.work);
  client = new LlbClient(daemon.socket);
});
afterAll(async () => {
  client.close();
  await daemon.stop();
  services.stop();
});

const out = (node: Node, index = 0): Output => ({ node, index });
const base = (): Output =>
  out(op({ case: "source", value: { identifier: `docker-image://${services.base}` } }));
const meta = (script: string) => ({ args: ["/bin/sh", "-c", script], env: ["PATH=/bin"], cwd: "/" });
const text = (data: string) => new TextEncoder().encode(data);
const owner = { timestamp: -1n };
function mkfile(path: string, data: string, input?: Output): Output {
  const action = { case: "mkfile" as const, value: { path, mode: 0o644, data: text(data), ...owner } };
  const actions = [{ input: input ? 0n : -1n, secondaryInput: -1n, output: 0n, action }];
  return out(op({ case: "file", value: { actions } }, input ? [input] : []));
}
/** Contents of files of a result; `undefined` for one that is not there. */
async function files(output: Output, paths: readonly string[]): Promise<(string | undefined)[]> {
  const found: (string | undefined)[] = [];
  await client.gateway(async ({ bridge, headers }) => {
    const { result } = await bridge.solve({ Definition: definition(output), Evaluate: true }, headers);
    const id = result?.result.case === "ref" ? result.result.value.id : "";
    for (const FilePath of paths) {
      const answer = await bridge.readFile({ Ref: id, FilePath }, headers).catch(() => undefined);
      found.push(answer && new TextDecoder().decode(answer.Data));
    }
    return id;
  });
  return found;
}

describe("ops", () => {
  it("exec: every mount that is written to has a result", async () => {
    const side = mkfile("/given", "given");
    const mounts = [
      { input: 0n, dest: "/", output: 0n },
      { input: 1n, dest: "/side", output: 1n },
      { input: -1n, dest: "/new", output: 2n },
      { input: 1n, dest: "/read", output: -1n, readonly: true },
      { input: 1n, dest: "/lost", output: -1n },
    ];
    const script =
      "cat /read/given > /root-file; echo side > /side/made; echo new > /new/made; echo x > /lost/x; ! echo > /read/x";
    const node = op({ case: "exec", value: { meta: meta(script), mounts } }, [base(), side]);
    expect(await files(out(node, 0), ["/root-file", "/side/made"])).toEqual(["given", undefined]);
    expect(await files(out(node, 1), ["/given", "/made", "/x"])).toEqual(["given", "side\n", undefined]);
    expect(await files(out(node, 2), ["/made"])).toEqual(["new\n"]);
  });

  it("exec: exit codes that are allowed, a root that is read-only", async () => {
    const run = (script: string, more: object, readonly = false): Output =>
      out(
        op(
          {
            case: "exec",
            value: {
              meta: { ...meta(script), ...more },
              mounts: [
                { input: 0n, dest: "/", output: readonly ? -1n : 0n, readonly },
                { input: -1n, dest: "/o", output: 1n },
              ],
            },
          },
          [base()],
        ),
        readonly ? 1 : 0,
      );
    await expect(client.solve(run("exit 3", { validExitCodes: [3] }))).resolves.toBeDefined();
    await expect(client.solve(run("exit 0", { validExitCodes: [3] }))).rejects.toThrow(/exit code: 0/);
    expect(await files(run("echo > /x || echo refused > /o/f", {}, true), ["/f"])).toEqual(["refused\n"]);
  });

  it("file: actions that branch", async () => {
    const write = (input: bigint, output: bigint, path: string) => ({
      input,
      secondaryInput: -1n,
      output,
      action: { case: "mkfile" as const, value: { path, mode: 0o644, data: text(path), ...owner } },
    });
    const copy = (input: bigint, secondaryInput: bigint, output: bigint) => ({
      input,
      secondaryInput,
      output,
      action: { case: "copy" as const, value: { src: "/b", dest: "/copied", mode: -1, ...owner } },
    });
    // both stand on the first; the last copies what the third made
    const actions = [write(0n, -1n, "/a"), write(1n, 0n, "/x"), write(1n, 1n, "/b"), copy(2n, 3n, 2n)];
    const node = op({ case: "file", value: { actions } }, [base()]);
    expect(await files(out(node, 0), ["/a", "/x", "/b"])).toEqual(["/a", "/x", undefined]);
    expect(await files(out(node, 1), ["/a", "/x", "/b"])).toEqual(["/a", undefined, "/b"]);
    expect(await files(out(node, 2), ["/a", "/x", "/copied"])).toEqual(["/a", "/x", "/b"]);
  });

  it("merge and diff: of what stands on another, and of what does not", async () => {
    const merged = (inputs: Output[]): Output =>
      out(op({ case: "merge", value: { inputs: inputs.map((_, i) => ({ input: BigInt(i) })) } }, inputs));
    const diff = (lower: Output | undefined, upper: Output): Output =>
      out(
        op(
          {
            case: "diff",
            value: { lower: { input: lower ? 0n : -1n }, upper: { input: lower ? 1n : 0n } },
          },
          lower ? [lower, upper] : [upper],
        ),
      );
    const one = mkfile("/one", "1", mkfile("/both", "first"));
    const run = {
      case: "exec" as const,
      value: {
        meta: meta("rm /m/one; echo 2 > /m/two; echo second > /m/both"),
        mounts: [
          { input: 0n, dest: "/", output: -1n, readonly: true },
          { input: 1n, dest: "/m", output: 0n },
        ],
      },
    };
    const changed = out(op(run, [base(), one]));
    const names = ["/one", "/two", "/both"];
    expect(await files(changed, names)).toEqual([undefined, "2\n", "second\n"]);
    const changes = diff(one, changed);
    expect(await files(changes, names)).toEqual([undefined, "2\n", "second\n"]);
    // on top of something else the deletion counts as well
    const other = mkfile("/one", "other", mkfile("/three", "3"));
    expect(await files(merged([other, changes]), [...names, "/three"])).toEqual([
      undefined,
      "2\n",
      "second\n",
      "3",
    ]);
    // neither stands on the other
    const between = diff(other, one);
    expect(await files(between, ["/one", "/both", "/three"])).toEqual(["1", "first", undefined]);
    expect(await files(merged([other, between]), ["/one", "/both", "/three"])).toEqual([
      "1",
      "first",
      undefined,
    ]);
    expect(await files(diff(undefined, one), ["/one"])).toEqual(["1"]);
  });

  it("build: a graph that another result has in a file, once", async () => {
    const script = (text: string) => ({ meta: meta(text), mounts: [{ input: 0n, dest: "/", output: 0n }] });
    const inner = out(
      op({ case: "exec", value: script("cat /proc/sys/kernel/random/uuid > /made") }, [base()]),
    );
    const data = toBinary(DefinitionSchema, definition(inner));
    const holder = (path: string, content: Uint8Array): Output => {
      const action = { case: "mkfile" as const, value: { path, mode: 0o644, data: content, ...owner } };
      return out(
        op({ case: "file", value: { actions: [{ input: -1n, secondaryInput: -1n, output: 0n, action }] } }),
      );
    };
    const built = (from: Output, filename?: string): Output => {
      const inputs = { "buildkit.llb.definition": { input: 0n } };
      const attrs = filename === undefined ? {} : { "llbbuild.filename": filename };
      return out(op({ case: "build", value: { builder: -1n, inputs, attrs } }, [from]));
    };
    const [made] = await files(built(holder("/buildkit.llb.definition", data)), ["/made"]);
    expect(made).toMatch(/^[0-9a-f-]{36}$/m);
    expect(await files(built(holder("/other", data), "/other"), ["/made"])).toEqual([made]);
    const failing = [
      [built(holder("/other", data)), "failed to open buildkit.llb.definition"],
      [built(holder("/buildkit.llb.definition", text("nonsense"))), "invalid definition"],
      [out(op({ case: "build", value: { builder: -1n } }, [mkfile("/a", "a")])), "no llb definition input"],
      [
        out(op({ case: "build", value: { builder: 0n } }, [mkfile("/a", "a")])),
        "only LLB builder is currently allowed",
      ],
    ] as const;
    for (const [output, message] of failing) await expect(client.solve(output)).rejects.toThrow(message);
  });

  // which of them are found again is what dockerd 28.5 does
  it.each([
    ["a root", { dest: "/" }, "DEFAULT", false],
    ["a root", { dest: "/" }, "ON", true],
    ["a mount", { dest: "/m", readonly: true, output: -1n }, "DEFAULT", true],
    ["a mount", { dest: "/m", readonly: true, output: -1n }, "OFF", false],
    ["a mount with a result", { dest: "/m", output: 1n }, "DEFAULT", true],
    ["a mount with a result", { dest: "/m", output: 1n }, "OFF", false],
  ] as const)(
    "exec: %s %o of the same content, content cache %s: found again %s",
    async (_, mount, mode, isFound) => {
      const unique = `${JSON.stringify(mount, (_key, value: unknown) => String(value))} ${mode}`;
      const made: (string | undefined)[] = [];
      for (const name of ["/first", "/second"]) {
        // the same files in another way
        const remove = { case: "rm" as const, value: { path: name } };
        const actions = [{ input: 0n, secondaryInput: -1n, output: 0n, action: remove }];
        const isRoot = mount.dest === "/";
        const start = mkfile(name, "x", isRoot ? base() : undefined);
        const same = out(op({ case: "file", value: { actions } }, [start]));
        const own = { input: isRoot ? 0n : 1n, output: 0n, contentCache: MountContentCache[mode], ...mount };
        const mounts = isRoot ? [own] : [{ input: 0n, dest: "/", output: 0n }, own];
        const value = { meta: meta(`: ${unique}; cat /proc/sys/kernel/random/uuid > /made`), mounts };
        const command = op({ case: "exec", value }, isRoot ? [same] : [base(), same]);
        made.push(...(await files(out(command), ["/made"])));
      }
      expect(made[0]).toMatch(/\d/);
      expect(made[1] === made[0]).toBe(isFound);
    },
  );

  it.each([
    [
      "exec",
      { meta: { args: [], cwd: "/" }, mounts: [{ dest: "/" }] },
      "failed to load LLB: invalid exec op with no args",
    ],
    ["exec", { meta: meta("x"), mounts: [] }, "failed to load LLB: invalid exec op with no mounts"],
    [
      "exec",
      { meta: meta("x"), mounts: [{ dest: "/x" }] },
      "failed to load LLB: invalid exec op with no rootfs",
    ],
    [
      "exec",
      { meta: meta("x"), mounts: [{ dest: "/", input: 7n }] },
      "failed to load LLB: invalid mount input 7",
    ],
    ["source", { identifier: "nope://x" }, "failed to load cache key: unknown scheme nope: not found"],
    ["source", { identifier: "x" }, "failed to load cache key: failed to parse x: invalid"],
    ["source", { identifier: "local://x" }, "no local sources enabled"],
    ["merge", { inputs: [{ input: 0n }, { input: 4n }] }, "failed to load LLB: invalid merge input 4"],
    ["diff", { lower: { input: 3n }, upper: { input: 0n } }, "failed to load LLB: invalid diff input 3"],
    ["file", { actions: [] }, "invalid response from exec need 0 index but 0 results received"],
  ])("%s %o is refused", async (kind, value, message) => {
    const body = { case: kind, value } as unknown as Parameters<typeof op>[0];
    const refused = client.solve(out(op(body, kind === "source" ? [] : [base()]))).then(
      () => "nothing",
      (error: unknown) => (error as ConnectError).rawMessage,
    );
    expect(await refused).toBe(message);
  });

  it("a graph becomes an image, scratch as well", async () => {
    const name = `${services.registry}/llb:1`;
    const { ExporterResponse } = await client.solve(mkfile("/f", "x"), name);
    expect(ExporterResponse["containerimage.digest"]).toMatch(/^sha256:/);
    await expect(client.solve(undefined, `${services.registry}/llb:empty`)).resolves.toBeDefined();
  });

  it("are refused if they make no sense", async () => {
    const missing = {
      node: { graph: new Map<string, Uint8Array>(), digest: `sha256:${"0".repeat(64)}` },
      index: 0,
    };
    await expect(client.solve(missing)).rejects.toThrow(/not before it/);
    const empty = op({ case: "exec", value: { meta: { args: [] }, mounts: [] } });
    await expect(client.solve(out(empty))).rejects.toThrow(/args/);
    const rootless = op({ case: "exec", value: { meta: meta("true"), mounts: [] } });
    await expect(client.solve(out(rootless))).rejects.toThrow(/no mounts/);
  });
});

describe("a frontend", () => {
  it("looks at what is in a result", async () => {
    const result = mkfile(
      "/dir/f",
      "0123456789",
      out(
        op({
          case: "file",
          value: {
            actions: [
              {
                input: -1n,
                secondaryInput: -1n,
                output: 0n,
                action: { case: "mkdir", value: { path: "/dir", mode: 0o750, ...owner } },
              },
            ],
          },
        }),
      ),
    );
    await client.gateway(async ({ bridge, headers }) => {
      const { result: solved } = await bridge.solve({ Definition: definition(result) }, headers);
      const Ref = solved?.result.case === "ref" ? solved.result.value.id : "";
      const part = await bridge.readFile(
        { Ref, FilePath: "/dir/f", Range: { Offset: 2n, Length: 3n } },
        headers,
      );
      expect(new TextDecoder().decode(part.Data)).toBe("234");
      const { entries } = await bridge.readDir({ Ref, DirPath: "/dir" }, headers);
      expect(entries).toMatchObject([{ path: "f", size: 10n, mode: 0o644 }]);
      expect((await bridge.readDir({ Ref, DirPath: "/dir", IncludePattern: "g*" }, headers)).entries).toEqual(
        [],
      );
      const { stat } = await bridge.statFile({ Ref, Path: "/dir" }, headers);
      expect(stat).toMatchObject({ path: "dir", mode: 2 ** 31 + 0o750 });
      const linked = out(
        op(
          {
            case: "exec",
            value: { meta: meta("ln -s target /link"), mounts: [{ input: 0n, dest: "/", output: 0n }] },
          },
          [base()],
        ),
      );
      const { result: second } = await bridge.solve({ Definition: definition(linked) }, headers);
      const links = await bridge.readDir(
        {
          Ref: second?.result.case === "ref" ? second.result.value.id : "",
          DirPath: "/",
          IncludePattern: "link",
        },
        headers,
      );
      expect(links.entries).toMatchObject([{ path: "link", linkname: "target", size: 6n }]);
      await expect(bridge.statFile({ Ref, Path: "/none" }, headers)).rejects.toThrow(/no such file/);
      await expect(bridge.readFile({ Ref, FilePath: "/../../etc/passwd" }, headers)).rejects.toThrow(
        /no such file/,
      );
      await expect(bridge.readFile({ Ref: "unheard", FilePath: "/f" }, headers)).rejects.toThrow(
        /no such ref/,
      );
      return Ref;
    });
  });

  it("resolves images, and its error is the build's", async () => {
    const failed = client.gateway(async ({ bridge, headers }) => {
      const { Digest, Config } = await bridge.resolveImageConfig({ Ref: services.base }, headers);
      expect(Digest).toMatch(/^sha256:/);
      expect(JSON.parse(new TextDecoder().decode(Config))).toMatchObject({ os: "linux" });
      const { FrontendAPICaps, LLBCaps } = await bridge.ping({}, headers);
      expect(FrontendAPICaps.map(({ ID }) => ID)).toContain("readfile");
      expect(LLBCaps.map(({ ID }) => ID)).toContain("diffop");
      throw new Error("of my own");
    });
    await expect(failed).rejects.toThrow("of my own");
  });
});

describe("an image", () => {
  it("can be cut off above some of its layers", async () => {
    const name = `${services.registry}/layers:1`;
    await client.solve(mkfile("/two", "2", mkfile("/one", "1")), name);
    const limited = (attrs: Record<string, string>): Output =>
      out(op({ case: "source", value: { identifier: `docker-image://${name}`, attrs } }));
    const paths = ["/one", "/two"];
    expect(await files(limited({ "image.layerlimit": "1" }), paths)).toEqual(["1", undefined]);
    expect(await files(limited({ "image.layerlimit": "9" }), paths)).toEqual(["1", "2"]);
    expect(await files(limited({}), paths)).toEqual(["1", "2"]);
  });
});

describe("a file behind a URL", () => {
  it("is downloaded once, as long as its ETag holds, with what the client knows of its host", async () => {
    const requests: string[] = [];
    let etag = '"1"';
    const server = createHttpServer((request, response) => {
      const { authorization = "", accept = "" } = request.headers;
      requests.push([request.method, request.url, authorization, accept].join(" ").trim());
      response.setHeader("etag", etag);
      if (request.headers["if-none-match"]?.includes(etag)) response.writeHead(304).end();
      else response.end(`content ${etag}`);
    });
    await once(server.listen(0, "127.0.0.1"), "listening");
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const http = (path: string, attrs: Record<string, string> = {}): Output =>
      out(op({ case: "source", value: { identifier: `${url}${path}`, attrs } }));
    expect(await files(http("/dir/f?q=1"), ["/f"])).toEqual(['content "1"']);
    expect(await files(http("/dir/f?q=1"), ["/f"])).toEqual(['content "1"']);
    expect(requests.splice(0)).toEqual(["GET /dir/f?q=1", "HEAD /dir/f?q=1"]);
    etag = '"2"';
    expect(await files(http("/dir/f?q=1"), ["/f"])).toEqual(['content "2"']);
    expect(requests.splice(0).map((text) => text.split(" ")[0])).toEqual(["HEAD", "GET"]);
    const named = { "http.filename": "n", "http.header.accept": "x/y" };
    expect(await files(http("/dir/f?q=1", named), ["/n"])).toEqual(['content "2"']);
    expect(requests.splice(0)).toEqual(["GET /dir/f?q=1  x/y"]);
    // what it has to be is known: it is not asked for before it is needed
    const checksum = digestOf('content "2"');
    expect(await files(http("/other", { "http.checksum": checksum }), ["/other"])).toEqual(['content "2"']);
    expect(await files(http("/other", { "http.checksum": checksum }), ["/other"])).toEqual(['content "2"']);
    expect(requests.splice(0)).toHaveLength(1);
    etag = '"3"';
    await expect(files(http("/third", { "http.checksum": checksum }), ["/third"])).rejects.toThrow(
      "digest mismatch",
    );
    server.close();
  });
});

describe("results that make no sense", () => {
  it.each([
    [{ "containerimage.config": "null" }, "invalid null image config for export"],
    [{ "containerimage.config": "{" }, "invalid image config for export"],
    [{ "containerimage.config": `{"os":"linux"}` }, "os and architecture must be specified together"],
    [{ "refs.platforms": "null" }, "invalid empty platforms index for exporter"],
    [{ "refs.platforms": `{"Platforms":[{}]}` }, "invalid empty platform key for exporter"],
    [{ "refs.platforms": `{"Platforms":[{"ID":"x"}]}` }, "invalid platform value"],
  ])("%j is refused", async (metadata, wanted) => {
    const build = client.gateway(async ({ bridge, headers }) => {
      const { result } = await bridge.solve({ Definition: definition(mkfile("/f", "f")) }, headers);
      const id = result?.result.case === "ref" ? result.result.value.id : "";
      const entries = Object.entries(metadata).map(([key, value]) => [key, text(value)] as const);
      return { result: { case: "ref", value: { id } }, metadata: Object.fromEntries(entries) };
    }, `${services.registry}/nonsense:1`);
    await expect(build).rejects.toThrow(wanted);
  });
});

describe("errors", () => {
  it("name the places that a client gave, the last first, as BuildKit does", async () => {
    const failing = op(
      { case: "exec", value: { meta: meta("exit 3"), mounts: [{ input: 0n, dest: "/", output: 0n }] } },
      [base()],
    );
    const graph = definition(out(failing));
    const range = (line: number) => ({ start: { line, character: 0 }, end: { line, character: 0 } });
    graph.Source = create(SourceSchema, {
      infos: [
        { filename: "inner", data: text("a\nb"), language: "x" },
        { filename: "outer", data: text("c"), language: "y" },
      ],
      locations: {
        [failing.digest]: {
          locations: [
            { sourceIndex: 0, ranges: [range(2)] },
            { sourceIndex: 1, ranges: [range(1)] },
          ],
        },
      },
    });
    const error = await client.solveGraph(graph).then(
      () => undefined,
      (caught: unknown) => caught as ConnectError,
    );
    const status = decodeBinaryHeader(error!.metadata.get("grpc-status-details-bin")!, StatusSchema);
    const sources = status.details
      .filter(({ typeUrl }) => typeUrl.includes("errdefs.Source"))
      .map(({ value }) => JSON.parse(Buffer.from(value).toString()) as unknown);
    expect(sources).toEqual([
      {
        info: { filename: "outer", data: Buffer.from("c").toString("base64"), language: "y" },
        ranges: [{ start: { line: 1 }, end: { line: 1 } }],
      },
      {
        info: { filename: "inner", data: Buffer.from("a\nb").toString("base64"), language: "x" },
        ranges: [{ start: { line: 2 }, end: { line: 2 } }],
      },
    ]);
  });
});

/** What a step that fails says of itself, and what a container sees of its mounts, or actions. */
async function lookInto(output: Output): Promise<{ about: object; code: unknown; seen: string[] }> {
  let found: { about: object; code: unknown; seen: string[] } | undefined;
  await client.gateway(async ({ bridge, headers }) => {
    const error = await bridge.solve({ Definition: definition(output), Evaluate: true }, headers).then(
      () => undefined,
      (caught: unknown) => caught as ConnectError,
    );
    const status = decodeBinaryHeader(error!.metadata.get("grpc-status-details-bin")!, StatusSchema);
    const [about, code] = ["errdefs.Solve", "gatewayapi.ExitMessage"].map((name) => {
      const detail = status.details.find(({ typeUrl }) => typeUrl.endsWith(`${name}+json`));
      return detail && (JSON.parse(Buffer.from(detail.value).toString()) as Record<string, unknown>);
    });
    const { inputIDs = [], mountIDs = [], ...rest } = about as { inputIDs?: string[]; mountIDs?: string[] };
    const { result } = await bridge.solve({ Definition: definition(base()), Evaluate: true }, headers);
    const root = result?.result.case === "ref" ? result.result.value.id : "";
    const seen: string[] = [];
    for (const [i, id] of [...inputIDs, "|", ...mountIDs].entries()) {
      if (id === "" || id === "|") {
        seen.push(id);
        continue;
      }
      const mounts = [
        { dest: "/", resultID: root },
        { dest: "/seen", resultID: id },
      ];
      await bridge.newContainer({ ContainerID: "c", Mounts: mounts }, headers);
      const script = "cd /seen; cat data* made 2>/dev/null; true";
      const process = new Process(bridge, headers, `p${i}`, script);
      seen.push((await process.ended).out.trim());
      await bridge.releaseContainer({ ContainerID: "c" }, headers);
    }
    found = { about: rest, code, seen };
    return root;
  });
  return found!;
}

describe("what a step that failed leaves behind", () => {
  it("a command: its mounts before and after", async () => {
    const script = "echo made > /out/made; echo also > /kept/made; echo too > /dropped/made; exit 7";
    const mounts = [
      { input: 0n, dest: "/", output: 0n },
      { input: -1n, dest: "/out", output: 1n },
      { input: 1n, dest: "/kept", output: 2n },
      { input: 1n, dest: "/read", output: -1n, readonly: true },
      { input: -1n, dest: "/tmp", output: -1n, mountType: MountType.TMPFS, TmpfsOpt: { size: 0n } },
      { input: 1n, dest: "/dropped", output: -1n },
    ];
    const failing = op({ case: "exec", value: { meta: meta(script), mounts } }, [
      base(),
      mkfile("/data", "before"),
    ]);
    const { about, code, seen } = await lookInto(out(failing));
    const [before, after] = [seen.slice(0, 6), seen.slice(7)];
    expect(before).toEqual(["", "", "before", "before", "", "before"]);
    expect(after).toEqual(["", "made", "beforealso", "before", "", "beforetoo"]);
    expect(code).toEqual({ Code: 7 });
    expect(about).toMatchObject({ op: { exec: { meta: { args: ["/bin/sh", "-c", script] } } } });
  });

  it("a file op: what the action that failed worked on", async () => {
    const action = (path: string, input: bigint) => ({
      ...{ input, secondaryInput: -1n, output: input === 0n ? -1n : 0n },
      action: { case: "mkfile" as const, value: { path, mode: 0o644, data: text("made"), ...owner } },
    });
    const actions = [action("/made", 0n), action("/none/made", 1n)];
    const failing = op({ case: "file", value: { actions } }, [mkfile("/data", "before")]);
    const { about, seen } = await lookInto(out(failing));
    expect(seen).toEqual(["before", "|", "", "beforemade"]);
    expect(about).toMatchObject({ file: { index: "1" }, op: { file: {} } });
  });

  it("a key that cannot be computed: the input that lacks what is read of it", async () => {
    const copy = { src: "/none", dest: "/x", mode: -1, createDestPath: true, followSymlink: true, ...owner };
    const action = { case: "copy" as const, value: copy };
    const actions = [{ input: 0n, secondaryInput: 1n, output: 0n, action }];
    const inputs = [mkfile("/other", "x"), mkfile("/data", "before")];
    const { about, seen } = await lookInto(out(op({ case: "file", value: { actions } }, inputs)));
    expect(seen).toEqual(["before", "|"]);
    expect(about).toMatchObject({ cache: { index: "1" } });
  });

  it("goes with the build", async () => {
    const left = await client.control.diskUsage({});
    expect(
      left.record.map(({ Description }) => Description).filter((text) => text.startsWith("failed")),
    ).toEqual([]);
  });
});

describe("file actions that fail say so as in BuildKit, and nothing of this machine", () => {
  const tree = (): Output => {
    const at = (input: bigint, output: bigint, action: object) => ({
      input,
      secondaryInput: -1n,
      output,
      action,
    });
    const folder = { case: "mkdir", value: { path: "/d", mode: 0o755, makeParents: false, ...owner } };
    const file = { case: "mkfile", value: { path: "/d/f", mode: 0o644, data: text("f"), ...owner } };
    return out(op({ case: "file", value: { actions: [at(-1n, -1n, folder), at(0n, 0n, file)] as never } }));
  };
  const mkdir = (path: string, makeParents = false) => ({
    case: "mkdir",
    value: { path, mode: 0o755, makeParents, ...owner },
  });
  const make = (path: string) => ({
    case: "mkfile",
    value: { path, mode: 0o644, data: text("x"), ...owner },
  });
  const remove = (path: string) => ({ case: "rm", value: { path } });
  const link = (newpath: string) => ({ case: "symlink", value: { oldpath: "/a", newpath, ...owner } });
  it.each([
    [mkdir("/x/y"), "mkdir /x/y: no such file or directory"],
    [mkdir("/d/f/x"), "lstat /d/f/x: not a directory"],
    [mkdir("/d/f/x/y", true), "lstat /d/f/x: not a directory"],
    [mkdir("/d/f", true), "mkdir /d/f: not a directory"],
    [mkdir("/d/f"), undefined],
    [make("/d"), "open /d: is a directory"],
    [make("/none/é"), "open /none/é: no such file or directory"],
    [remove("/none"), "stat /none: no such file or directory"],
    [remove("/d/f/x"), "unlinkat /d/f/x: not a directory"],
    [remove("/"), "rmPath: invalid empty path"],
    [link("/d"), "symlink /a /d: file exists"],
  ])("%o", async (action, expected) => {
    const actions = [{ input: 0n, secondaryInput: -1n, output: 0n, action }];
    const message = await client
      .solve(out(op({ case: "file", value: { actions: actions as never } }, [tree()])))
      .then(
        () => undefined,
        (error: unknown) => (error as ConnectError).rawMessage,
      );
    expect(message).toBe(expected);
  });
});

describe("what a frontend says of its result", () => {
  it("goes with the image: predicates, and folders of statements", async () => {
    const predicate = mkfile("/p.json", JSON.stringify({ about: "all" }));
    const bundled = {
      predicateType: "https://example.com/b",
      predicate: { n: 1 },
      subject: [{ name: "s", digest: { sha256: "ab" } }],
    };
    const bundle = mkfile("/one.json", JSON.stringify(bundled));
    const name = `${services.registry}/attested:1`;
    await client.gateway(async ({ bridge, headers }) => {
      const solve = async (output: Output): Promise<string> => {
        const { result } = await bridge.solve({ Definition: definition(output) }, headers);
        return result?.result.case === "ref" ? result.result.value.id : "";
      };
      const [id, of, all] = [await solve(mkfile("/f", "f")), await solve(predicate), await solve(bundle)];
      const attestation = [
        {
          kind: AttestationKind.InToto,
          ref: { id: of },
          path: "/p.json",
          inTotoPredicateType: "https://example.com/a",
          inTotoSubjects: [
            { kind: InTotoSubjectKind.Self },
            { kind: InTotoSubjectKind.Raw, name: "raw", digest: ["sha256:cd"] },
          ],
        },
        {
          kind: AttestationKind.Bundle,
          ref: { id: all },
          path: "/",
          inTotoPredicateType: "https://example.com/b",
        },
      ];
      return {
        result: { case: "ref", value: { id } },
        attestations: { "linux/amd64": { attestation } },
        metadata: {
          "refs.platforms": text(
            JSON.stringify({
              Platforms: [{ ID: "linux/amd64", Platform: { os: "linux", architecture: "amd64" } }],
            }),
          ),
        },
      };
    }, name);
    const get = async (path: string): Promise<unknown> => {
      const accept = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json";
      const answer = await fetch(`http://${services.registry}/v2/attested/${path}`, { headers: { accept } });
      return answer.json();
    };
    const { manifests } = (await get("manifests/1")) as { manifests: { digest: string }[] };
    const { layers } = (await get(`manifests/${manifests[1]!.digest}`)) as { layers: { digest: string }[] };
    const statements = await Promise.all(layers.map(({ digest }) => get(`blobs/${digest}`)));
    const self = { sha256: manifests[0]!.digest.replace("sha256:", "") };
    expect(statements).toMatchObject([
      {
        predicateType: "https://example.com/a",
        predicate: { about: "all" },
        subject: [
          { name: expect.stringContaining("attested@1") as string, digest: self },
          { name: "raw", digest: { sha256: "cd" } },
        ],
      },
      bundled,
    ]);
  });
});

describe("the Dockerfile frontend, given graphs", () => {
  const dockerfile = (data: string): Output => mkfile("/Dockerfile", data);
  const run = (FrontendAttrs: Record<string, string>, inputs: Record<string, Output>): Promise<string> => {
    const FrontendInputs = Object.fromEntries(
      Object.entries(inputs).map(([name, output]) => [name, definition(output)]),
    );
    const request = { Frontend: "dockerfile.v0", FrontendAttrs, FrontendInputs };
    return client.build(request).then(
      () => "ok",
      (error: unknown) => (error as ConnectError).rawMessage,
    );
  };
  const context = (): Output => mkfile("/.dockerignore", "kept", mkfile("/kept", "kept"));

  it("takes them for its context, in which nothing is ignored, and its Dockerfile", async () => {
    const text = `FROM base\nCOPY . /all\nRUN read x < /all/kept; test "$x" = kept\n`;
    const attrs = { "context:base": "input:base" };
    expect(await run(attrs, { context: context(), dockerfile: dockerfile(text), base: base() })).toBe("ok");
  });

  it("takes a folder of a context for all of it", async () => {
    const folder = { path: "/d", mode: 0o755, makeParents: true, ...owner };
    const file = { path: "/d/f", mode: 0o644, data: text("f"), ...owner };
    const actions = [
      { input: -1n, secondaryInput: -1n, output: -1n, action: { case: "mkdir" as const, value: folder } },
      { input: 0n, secondaryInput: -1n, output: 0n, action: { case: "mkfile" as const, value: file } },
    ];
    const inputs = {
      context: out(op({ case: "file", value: { actions } })),
      dockerfile: dockerfile("FROM scratch\nCOPY f /\n"),
    };
    expect(await run({ contextsubdir: "d" }, inputs)).toBe("ok");
    expect(await run({}, inputs)).toContain('"/f": not found');
  });

  it("needs no folder of the client's where it reads none", async () => {
    const own = dockerfile("FROM scratch\nCOPY --from=x kept /\n");
    expect(await run({ "context:x": "input:x" }, { x: context(), dockerfile: own })).toBe("ok");
    const reading = dockerfile("FROM scratch\nCOPY kept /\n");
    expect(await run({}, { dockerfile: reading })).toBe("no local sources enabled");
    expect(await run({}, { context: context() })).toBe("failed to read dockerfile: no local sources enabled");
    expect(await run({ filename: "none" }, { dockerfile: own })).toBe(
      "failed to read dockerfile: open none: no such file or directory",
    );
    // a folder that the client names is read, whatever it is given
    expect(await run({ dockerfilekey: "mine" }, { dockerfile: own })).toContain("no local sources enabled");
  });
});

describe("a result for other platforms than were asked for", () => {
  it("is exported with a warning", async () => {
    const Ref = randomUUID();
    const ended = client.gateway(
      async ({ bridge, headers }) => {
        const { result } = await bridge.solve({ Definition: definition(mkfile("/x", "x")) }, headers);
        return result?.result.case === "ref" ? result.result.value.id : "";
      },
      { Ref, FrontendAttrs: { platform: "linux/s390x" } },
    );
    await ended;
    const messages = await client.status(Ref);
    const warnings = messages.flatMap((message) => message.warnings);
    expect(warnings.map(({ short }) => Buffer.from(short).toString())).toEqual([
      'Requested platform "linux/s390x" does not match result platform "linux/amd64"',
    ]);
    const step = messages
      .flatMap(({ vertexes }) => vertexes)
      .find(({ digest }) => digest === warnings[0]!.vertex);
    expect(step?.name).toBe("Verifying build result");
  });
});

describe("source policies", () => {
  const rule = (action: "ALLOW" | "DENY" | "CONVERT", identifier: string, to = "") => ({
    action: PolicyAction[action],
    selector: { identifier, matchType: MatchType.WILDCARD },
    ...(to !== "" && { updates: { identifier: to } }),
  });

  it("replace sources, and deny them", async () => {
    const wanted = out(
      op({ case: "source", value: { identifier: "docker-image://images.invalid/some/base:1" } }),
    );
    const path = services.base.slice(services.base.indexOf("/"));
    const to = `docker-image://${services.registry}${path.replace(/:.*/, "")}:\${1}`;
    const convert = rule("CONVERT", "docker-image://images.invalid/some/base:*", to);
    await expect(client.solve(wanted, undefined, [convert])).resolves.toBeDefined();
    const deny = rule("DENY", "docker-image://*");
    await expect(client.solve(base(), undefined, [deny])).rejects.toThrow(/denied by policy/);
    const allow = rule("ALLOW", `docker-image://${services.registry}/*`);
    await expect(client.solve(base(), undefined, [deny, allow])).resolves.toBeDefined();
    await expect(client.solve(wanted, undefined, [deny, convert])).rejects.toThrow(/denied by policy/);
  });

  it("of a frontend hold for what it resolves, before the client's", async () => {
    const Ref = `${services.registry}/original:1`;
    const to = `docker-image://${services.base}`;
    const policy = [
      { rules: [rule("DENY", "*"), rule("ALLOW", `${to}*`), rule("CONVERT", `docker-image://${Ref}`, to)] },
    ];
    await client.gateway(async ({ bridge, headers }) => {
      const image = await bridge.resolveImageConfig({ Ref, SourcePolicies: policy }, headers);
      expect(image.Ref).toBe(services.base);
      const Source = { identifier: `docker-image://${Ref}` };
      const meta = await bridge.resolveSourceMeta({ Source, SourcePolicies: policy }, headers);
      expect([meta.Source?.identifier, meta.Image?.Digest]).toEqual([to, image.Digest]);
      const file = { Source: { identifier: "https://example.test/f" }, SourcePolicies: policy };
      await expect(bridge.resolveSourceMeta(file, headers)).rejects.toThrow(
        /could not resolve image due to policy: source "https:\/\/example.test\/f" denied by policy/,
      );
      // what one policy denies, the next does not allow
      const all = { rules: [rule("ALLOW", "*")] };
      const request = {
        Definition: definition(base()),
        SourcePolicies: [{ rules: [rule("DENY", "*")] }, all],
      };
      await expect(bridge.solve(request, headers)).rejects.toThrow(/denied by policy/);
      return (await bridge.solve({ ...request, SourcePolicies: [all] }, headers)).result!;
    });
  });
});

describe("a frontend's container", () => {
  it("runs processes, with their input, output, signals and exit codes", async () => {
    await client.gateway(async ({ bridge, headers }) => {
      const { result } = await bridge.solve(
        { Definition: definition(mkfile("/given", "given", base())) },
        headers,
      );
      const resultID = result?.result.case === "ref" ? result.result.value.id : "";
      const Mounts = [
        { dest: "/", resultID },
        { dest: "/tmp", mountType: MountType.TMPFS },
      ];
      await bridge.newContainer({ ContainerID: "c", Mounts, hostname: "inside" }, headers);
      const first = new Process(bridge, headers, "first", "cat /given; hostname; cat; exit 4");
      first.write("typed");
      const second = new Process(bridge, headers, "second", "echo other >&2; touch /made; exit 5");
      expect(await second.ended).toEqual({ code: 5, error: "exit code: 5", out: "", err: "other\n" });
      const third = new Process(
        bridge,
        headers,
        "third",
        "test -f /made && trap 'exit 6' TERM; while :; do sleep 0.1; done",
      );
      await new Promise((resolve) => setTimeout(resolve, 500));
      third.signal("SIGTERM");
      expect((await third.ended).code).toBe(6);
      first.write(undefined);
      const ended = { code: 4, error: "exit code: 4", out: "giveninside\ntyped", err: "" };
      expect(await first.ended).toEqual(ended);
      // what failed first in it
      const release = () => bridge.releaseContainer({ ContainerID: "c" }, headers);
      await expect(release()).rejects.toThrow("exit code: 5");
      await expect(release()).rejects.toThrow(/released or not created/);
      return resultID;
    });
  });

  it("puts processes in front of terminals", async () => {
    await client.gateway(async ({ bridge, headers }) => {
      const { result } = await bridge.solve({ Definition: definition(base()) }, headers);
      const resultID = result?.result.case === "ref" ? result.result.value.id : "";
      await bridge.newContainer({ ContainerID: "c", Mounts: [{ dest: "/", resultID }] }, headers);
      // a shell that edits lines asks where the cursor is
      const shown = (process: Process): string => process.shown.replace(/\x1b\[\d*[A-Za-z]/g, "");
      const first = new Process(bridge, headers, "first", undefined);
      first.resize(40, 80);
      await expect.poll(() => first.isStarted).toBe(true);
      first.write("stty size\n");
      await expect.poll(() => shown(first)).toMatch(/stty size\r\n40 80\r\n/);
      first.resize(50, 90);
      first.write("stty size; tty\n");
      await expect.poll(() => shown(first)).toMatch(/50 90\r\n\/dev\/(pts\/0|console)\r\n/);

      const second = new Process(bridge, headers, "second", undefined);
      second.resize(30, 70);
      await expect.poll(() => second.isStarted).toBe(true);
      second.write("stty size; sleep 1000.7\n");
      await expect.poll(() => shown(second)).toContain("30 70\r\n");
      // Ctrl-C ends what runs, not the shell
      second.write("\x03");
      second.write("echo $?; exit 9\n");
      expect(await second.ended).toMatchObject({
        code: 9,
        out: expect.stringMatching(/\^C[^]*130\r\n/) as string,
      });

      first.write("exit 99\n");
      expect((await first.ended).code).toBe(99);
      const release = bridge.releaseContainer({ ContainerID: "c" }, headers);
      await expect(release).rejects.toThrow("exit code: 9");
      return resultID;
    });
  });

  it("ends when it is released, and with its build", async () => {
    const start = async ({ bridge, headers }: Gateway): Promise<Process> => {
      const { result } = await bridge.solve({ Definition: definition(base()) }, headers);
      const resultID = result?.result.case === "ref" ? result.result.value.id : "";
      await bridge.newContainer({ ContainerID: "c", Mounts: [{ dest: "/", resultID }] }, headers);
      const process = new Process(bridge, headers, "p", "sleep 4321");
      await new Promise((resolve) => setTimeout(resolve, 500));
      return process;
    };
    await client.gateway(async (gateway) => {
      const process = await start(gateway);
      const release = gateway.bridge.releaseContainer({ ContainerID: "c" }, gateway.headers);
      await expect(release).rejects.toThrow("context canceled");
      expect(await process.ended).toMatchObject({ code: 255, error: "context canceled" });
      return "";
    });
    let left: Process | undefined;
    await client.gateway(async (gateway) => {
      left = await start(gateway);
      return "";
    });
    expect((await left!.ended).code).not.toBe(0);
  });

  it("ends its stream only for what a process cannot be given", async () => {
    await client.gateway(async ({ bridge, headers }) => {
      const { result } = await bridge.solve({ Definition: definition(base()) }, headers);
      const resultID = result?.result.case === "ref" ? result.result.value.id : "";
      const run = async (init: MessageInitShape<typeof InitMessageSchema>): Promise<ExecMessage[]> => {
        const answers: ExecMessage[] = [];
        const messages = async function* () {
          const value = { ContainerID: "c", Fds: [1, 2], ...init };
          yield create(ExecMessageSchema, { ProcessID: "p", Input: { case: "Init", value } });
          await expect.poll(() => answers.at(-1)?.Input.case).toBe("Done");
        };
        for await (const answer of bridge.execProcess(messages(), headers)) answers.push(answer);
        return answers;
      };
      const newContainer = (): Promise<unknown> =>
        bridge.newContainer({ ContainerID: "c", Mounts: [{ dest: "/", resultID }] }, headers);
      await newContainer();
      const Meta = { args: ["true"], cwd: "/" };
      await expect(run({ ContainerID: "none", Meta })).rejects.toThrow(/released or not created/);
      await expect(run({ Meta, secretenv: [{ ID: "none", name: "S" }] })).rejects.toThrow(/none/);
      const refused = await run({ Meta, Security: SecurityMode.INSECURE });
      const kinds = refused.map(({ Input }) => Input.case);
      expect([kinds[0], ...kinds.slice(-2)]).toEqual(["Started", "Exit", "Done"]);
      expect(refused.at(-2)!.Input.value).toMatchObject({
        Code: 255,
        Error: { message: "security.insecure is not allowed" },
      });
      return resultID;
    });
  });

  it("has the PATH of its platform, and a TERM in front of a terminal", async () => {
    await client.gateway(async ({ bridge, headers }) => {
      const { result } = await bridge.solve({ Definition: definition(base()) }, headers);
      const resultID = result?.result.case === "ref" ? result.result.value.id : "";
      const Mounts = [{ dest: "/", resultID }];
      const environment = async (OS: string, Tty: boolean): Promise<string> => {
        const platform = { OS, Architecture: "amd64" };
        await bridge.newContainer({ ContainerID: "c", Mounts, platform }, headers);
        let out = "";
        let isDone = false;
        const messages = async function* () {
          const Meta = { args: ["/bin/busybox", "env"], cwd: "/" };
          const value = { ContainerID: "c", Meta, Fds: [1], Tty };
          yield create(ExecMessageSchema, { ProcessID: "p", Input: { case: "Init", value } });
          await expect.poll(() => isDone).toBe(true);
        };
        for await (const { Input } of bridge.execProcess(messages(), headers)) {
          if (Input.case === "File") out += Buffer.from(Input.value.Data).toString();
          if (Input.case === "Done") isDone = true;
        }
        await bridge.releaseContainer({ ContainerID: "c" }, headers);
        return out;
      };
      expect(await environment("windows", false)).toContain("PATH=c:\\Windows\\System32;c:\\Windows;");
      expect(await environment("linux", true)).toMatch(/PATH=\/usr\/local\/sbin:[^]*TERM=xterm/);
      return resultID;
    });
  });
});

describe("a frontend's requests", () => {
  it("have to say for which build they are", async () => {
    await client.gateway(async ({ bridge, headers }) => {
      await expect(bridge.ping({}, headers)).resolves.toBeDefined();
      await expect(bridge.ping({})).rejects.toThrow("no buildid found in context");
      const unknown = { headers: { "buildkit-controlapi-buildid": "nobody" } };
      const error = await bridge.ping({}, unknown).then(
        () => undefined,
        (caught: unknown) => caught as ConnectError,
      );
      expect([error?.code, error?.rawMessage]).toEqual([Code.NotFound, "no such job nobody"]);
      return "";
    });
  });

  it("warn as loudly as they say", async () => {
    const Ref = randomUUID();
    await client.gateway(
      async ({ bridge, headers }) => {
        const graph = definition(mkfile("/f", "x"));
        const { result } = await bridge.solve({ Definition: graph }, headers);
        await bridge.warn({ digest: "", level: 3n, short: text("careful") }, headers);
        return result?.result.case === "ref" ? result.result.value.id : "";
      },
      { Ref },
    );
    const warnings = (await client.status(Ref)).flatMap((message) => message.warnings);
    expect(warnings.map(({ level, short }) => [level, Buffer.from(short).toString()])).toEqual([
      [3n, "careful"],
    ]);
  });
});

it("a client names outputs once it knows the result", async () => {
  const name = `${services.registry}/late:1`;
  const seen: { metadata: string[]; names: string[] }[] = [];
  const Ref = randomUUID();
  const late = new LlbClient(daemon.socket, {
    methods: ["/moby.exporter.v1.Exporter/FindExporters"],
    routes: (router) => {
      router.service(Exporter, {
        findExporters: async ({ metadata, refs }) => {
          const { entries } = await late.bridge(Ref).readDir({ Ref: refs[0]!, DirPath: "/" });
          seen.push({ metadata: Object.keys(metadata), names: entries.map(({ path }) => path) });
          return { exporters: [{ Type: "image", Attrs: { name, push: "true", compression: "zstd" } }] };
        },
      });
    },
  });
  try {
    const { ExporterResponse } = await late.gateway(
      async ({ bridge, headers }) => {
        const { result } = await bridge.solve({ Definition: definition(mkfile("/f", "x")) }, headers);
        const id = result?.result.case === "ref" ? result.result.value.id : "";
        return { result: { case: "ref", value: { id } }, metadata: { about: text("it") } };
      },
      { Ref, EnableSessionExporter: true },
    );
    expect(seen).toEqual([{ metadata: ["about"], names: ["f"] }]);
    expect(ExporterResponse["image.name"]).toBe(name);
  } finally {
    late.close();
  }
});
