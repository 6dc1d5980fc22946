// What BuildKit's own client suite asks of a daemon, where it asked for more than was there: merges and diffs that are
// pushed, mounts, digests, and what outputs and frontends may say of a result.
import { setTimeout as sleep } from "node:timers/promises";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  CacheSharingOpt,
  MountType,
  OpMetadataSchema,
  type OpSchema,
} from "../../src/control/gen/buildkit/ops_pb.js";
import { startDaemon, type TestDaemon } from "../support/daemon.js";
import { LlbClient, definition, op, type Output } from "../support/llb-client.js";
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

type OpBody = NonNullable<MessageInitShape<typeof OpSchema>["op"]>;
type Exec = Extract<OpBody, { case: "exec" }>["value"];

const out = (body: OpBody, inputs: readonly Output[] = [], index = 0): Output => ({
  node: op(body, inputs),
  index,
});
const image = (identifier: string, attrs: Record<string, string> = {}): Output =>
  out({ case: "source", value: { identifier: `docker-image://${identifier}`, attrs } });
const base = (): Output => image(services.base);
const run = (script: string, inputs: readonly Output[], more: NonNullable<Exec["mounts"]> = []): Output =>
  out(
    {
      case: "exec",
      value: {
        meta: { args: ["/bin/sh", "-ec", script], env: ["PATH=/bin"], cwd: "/root" },
        mounts: [{ input: 0n, dest: "/", output: 0n }, ...more],
      },
    },
    inputs,
  );
const mkfile = (path: string, input?: Output): Output => {
  const value = { path, mode: 0o644, data: Buffer.from(path), timestamp: -1n };
  const action = {
    input: input ? 0n : -1n,
    secondaryInput: -1n,
    output: 0n,
    action: { case: "mkfile" as const, value },
  };
  return out({ case: "file", value: { actions: [action] } }, input ? [input] : []);
};
const merge = (...inputs: Output[]): Output =>
  out({ case: "merge", value: { inputs: inputs.map((_, i) => ({ input: BigInt(i) })) } }, inputs);
const diff = (lower: Output, upper: Output): Output =>
  out({ case: "diff", value: { lower: { input: 0n }, upper: { input: 1n } } }, [lower, upper]);

/** Names in the root of a result. */
async function names(output: Output): Promise<string[]> {
  let found: string[] = [];
  await client.gateway(async ({ bridge, headers }) => {
    const { result } = await bridge.solve({ Definition: definition(output), Evaluate: true }, headers);
    const id = result?.result.case === "ref" ? result.result.value.id : "";
    const { entries } = await bridge.readDir({ Ref: id, DirPath: "/" }, headers);
    found = entries.map(({ path }) => path).sort();
    return id;
  });
  return found;
}

let counter = 0;
const newName = (): string => `${services.registry}/graphs/${++counter}:1`;

/** The same result, by way of a registry and a daemon that has nothing. */
async function pulled(output: Output): Promise<string[]> {
  const name = newName();
  const { ExporterResponse } = await client.solve(output, name);
  for await (const _ of client.control.prune({ all: true }));
  return names(image(`${name}@${ExporterResponse["containerimage.digest"]}`));
}

describe("merges and diffs", () => {
  it("have what is gone in what is pushed", async () => {
    const both = merge(mkfile("/a"), mkfile("/b"));
    const withoutB = run("rm /m/b", [base(), both], [{ input: 1n, dest: "/m", output: 1n }]);
    const changed: Output = { ...withoutB, index: 1 };
    const gone = merge(mkfile("/b"), mkfile("/c"), diff(both, changed));
    expect(await names(gone)).toEqual(["c"]);
    expect(await pulled(gone)).toEqual(["c"]);
    // neither of the two stands on the other
    const apart = merge(mkfile("/b"), mkfile("/c"), diff(mkfile("/b"), mkfile("/d")));
    expect(await pulled(apart)).toEqual(["c", "d"]);
  });

  it("take a layer that comes twice", async () => {
    const [a, b] = [mkfile("/a"), mkfile("/b")];
    expect(await names(merge(a, b, a))).toEqual(["a", "b"]);
    expect(await names(mkfile("/c", merge(a, b, a, b)))).toEqual(["a", "b", "c"]);
  });

  it("have nothing of folders and files that are as they were", async () => {
    const moved = run("mv /etc/passwd /etc/p; mv /etc/p /etc/passwd; echo > /new", [base()]);
    // the mount points that the base has not got are new
    expect(await names(diff(base(), moved))).toEqual(["dev", "new", "proc", "sys"]);
  });

  it("leave nothing behind that cannot be pruned", async () => {
    await client.solve(merge(mkfile("/a"), mkfile("/b"), mkfile("/a")));
    for await (const _ of client.control.prune({ all: true }));
    expect((await client.control.diskUsage({})).record).toEqual([]);
  });
});

describe("mounts", () => {
  const cache = (id: string, dest: string, sharing: CacheSharingOpt) => ({
    input: -1n,
    dest,
    output: -1n,
    mountType: MountType.CACHE,
    cacheOpt: { ID: id, sharing },
  });

  it("a cache that a step locks twice is one folder", async () => {
    const twice = ["/one", "/two"].map((dest) => cache("twice", dest, CacheSharingOpt.LOCKED));
    await expect(client.solve(run("touch /one/x; test -f /two/x", [base()], twice))).resolves.toBeDefined();
  });

  it("caches are empty for a step that is wanted anew", async () => {
    const step = (script: string): Output =>
      run(script, [base()], [cache("anew", "/c", CacheSharingOpt.SHARED)]);
    await client.solve(step("touch /c/first"));
    await client.solve(step("test -f /c/first"));
    const anew = step("test ! -f /c/first; touch /c/second");
    const graph = definition(anew);
    graph.metadata[anew.node.digest] = create(OpMetadataSchema, { ignoreCache: true });
    await client.solveGraph(graph);
    await client.solve(step("test -f /c/second; test ! -f /c/first"));
  });

  it("where they are is relative to where the step works", async () => {
    const made = run("echo > /root/sub/made", [base()], [{ input: -1n, dest: "sub", output: 1n }]);
    expect(await names({ ...made, index: 1 })).toEqual(["made"]);
  });
});

describe("images", () => {
  it("are what they have to be", async () => {
    const name = newName();
    await client.solve(mkfile("/a"), name);
    const wrong = `sha256:${"0".repeat(64)}`;
    await expect(client.solve(image(name, { "image.checksum": wrong }))).rejects.toThrow(
      `does not match expected checksum ${wrong}`,
    );
    await expect(client.solve(image(name, { "image.layerlimit": "0" }))).rejects.toThrow(
      "invalid layer limit 0",
    );
  });

  it("are not had from a repository that has not got them", async () => {
    const name = newName();
    const { ExporterResponse } = await client.solve(mkfile("/a"), name);
    const digest = ExporterResponse["containerimage.digest"]!;
    await expect(client.solve(image(`${name}@${digest}`))).resolves.toBeDefined();
    await expect(client.solve(image(`${services.registry}/graphs/other@${digest}`))).rejects.toThrow(
      /not found|manifest unknown/i,
    );
  });

  it("of a step that stands on nothing are the same ones later", async () => {
    const [first, second] = [newName(), newName()];
    const made = await client.solve(mkfile("/kept"), first);
    await sleep(1100);
    const again = await client.solve(mkfile("/kept"), second);
    expect(again.ExporterResponse["containerimage.digest"]).toBe(
      made.ExporterResponse["containerimage.digest"],
    );
  });
});

describe("outputs", () => {
  interface Manifest {
    readonly config: { readonly digest: string };
    readonly annotations?: Record<string, string>;
  }
  const fetchJson = async (name: string, kind: "manifests" | "blobs", which = "1"): Promise<unknown> => {
    const path = name.slice(services.registry.length + 1).replace(/:1$/, "");
    const headers = { accept: "application/vnd.oci.image.manifest.v1+json" };
    return (await fetch(`http://${services.registry}/v2/${path}/${kind}/${which}`, { headers })).json();
  };
  const createdOf = async (name: string): Promise<string> => {
    const { config } = (await fetchJson(name, "manifests")) as Manifest;
    return ((await fetchJson(name, "blobs", config.digest)) as { created: string }).created;
  };

  it("each has a time of its own, else the build's", async () => {
    const [own, none, builds] = [newName(), newName(), newName()];
    const exporter = (name: string, attrs: Record<string, string>) => ({
      Type: "image",
      Attrs: { name, push: "true", ...attrs },
    });
    await client.build({
      Definition: definition(mkfile("/a")),
      FrontendAttrs: { "build-arg:SOURCE_DATE_EPOCH": "1000000000" },
      Exporters: [
        exporter(own, { "source-date-epoch": "500000000" }),
        exporter(none, { "source-date-epoch": "" }),
        exporter(builds, {}),
      ],
    });
    expect(await createdOf(own)).toBe("1985-11-05T00:53:20Z");
    expect(await createdOf(builds)).toBe("2001-09-09T01:46:40Z");
    expect(Date.parse(await createdOf(none))).toBeGreaterThan(Date.parse("2020-01-01"));
  });

  it("have what frontends say: names, annotations and what clients are told", async () => {
    const name = newName();
    const { ExporterResponse } = await client.gateway(
      async ({ bridge, headers }) => {
        const { result } = await bridge.solve({ Definition: definition(mkfile("/a")) }, headers);
        const metadata = {
          "image.name": Buffer.from(name),
          "annotation.said": Buffer.from("by the frontend"),
          "annotation-manifest[linux/amd64].of": Buffer.from("amd64"),
          "frontend.returned": Buffer.from("true"),
          "other.returned": Buffer.from("true"),
        };
        return { ...(result ? { result: result.result } : {}), metadata };
      },
      {
        Exporters: [{ Type: "image", Attrs: { name: "*", push: "true", "annotation.own": "by the output" } }],
      },
    );
    const { annotations } = (await fetchJson(name, "manifests")) as Manifest;
    expect(annotations).toEqual({ own: "by the output", said: "by the frontend", of: "amd64" });
    expect(ExporterResponse).toMatchObject({ "image.name": name, "frontend.returned": "true" });
    expect(ExporterResponse).not.toHaveProperty("other.returned");
  });

  it("are not annotated for a platform that is not there", async () => {
    const Attrs = { name: newName(), "annotation-manifest[linux/arm64].a": "b" };
    await expect(
      client.build({ Definition: definition(mkfile("/a")), Exporters: [{ Type: "image", Attrs }] }),
    ).rejects.toThrow("invalid annotation: no platform linux/arm64 found in source");
  });
});
