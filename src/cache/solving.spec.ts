// Random graphs that change at random, solved with any combination of caches: the result is always that of a clean
// build, and what did not change never runs again.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { digestOf, type Digest } from "../lib/index.js";
import {
  Solver,
  type CacheMap,
  type CacheStore,
  type Edge,
  type RecordId,
  type RecordLink,
  type StoredRecord,
  type Vertex,
  type WritableCacheStore,
} from "../solver/index.js";
import { buildManifest } from "./export.js";
import { ImportedCache } from "./import.js";
import { decodeManifest, encodeManifest } from "./manifest.js";

/** What a step makes: files by path. */
type Files = Readonly<Record<string, string>>;

const PATHS = ["a", "b", "c"] as const;
type Path = (typeof PATHS)[number];

interface Step {
  readonly kind: "image" | "local" | "run" | "copy" | "constant";
  /** what the command or the source's content is */
  readonly text: string;
  /** of the steps before it */
  readonly inputs: readonly number[];
  /** what a copy reads, and where to */
  readonly path: Path;
}

type Graph = readonly Step[];

const isSource = ({ kind }: Step): boolean => kind === "image" || kind === "local";

/** What a clean build gives for a step. */
function meaning(step: Step, inputs: readonly Files[]): Files {
  switch (step.kind) {
    case "image":
    case "local":
      return Object.fromEntries(PATHS.map((path, i) => [path, step.text.slice(i, i + 2)]));
    case "run":
      return { ...inputs[0], [step.path]: digestOf(JSON.stringify([step.text, inputs])).slice(7, 15) };
    case "copy":
      return { ...inputs[0], [step.path]: inputs.at(-1)![step.path] ?? "" };
    case "constant":
      return { a: step.text, b: "", c: "" };
  }
}

function cleanBuild(graph: Graph): Files {
  const made: Files[] = [];
  for (const step of graph)
    made.push(
      meaning(
        step,
        step.inputs.map((i) => made[i]!),
      ),
    );
  return made.at(-1)!;
}

/** Records in memory, by the rules of the local store. */
class MemoryStore implements WritableCacheStore<Files> {
  readonly name = "local";
  readonly #records = new Map<RecordId, { record: StoredRecord; results: Files[] }>();
  readonly #children = new Map<string, RecordId[]>();

  roots(digest: Digest): readonly RecordId[] {
    return [digest];
  }

  children(
    parent: RecordId,
    input: number,
    digest: Digest,
    selector: Digest | undefined,
  ): readonly RecordId[] {
    return this.#children.get([parent, input, digest, selector].join()) ?? [];
  }

  record(id: RecordId): StoredRecord | undefined {
    return id.startsWith("sha256:") ? { digest: id as Digest, inputs: [] } : this.#records.get(id)?.record;
  }

  results(id: RecordId) {
    return (this.#records.get(id)?.results ?? []).map((value) => ({ createdAt: 1, load: async () => value }));
  }

  save(record: StoredRecord, result: Files | undefined): RecordId {
    if (record.inputs.length === 0) return record.digest;
    const sets = record.inputs.map(
      (links, i) =>
        new Set(links.flatMap(({ parent, selector }) => this.children(parent, i, record.digest, selector))),
    );
    const id =
      [...sets[0]!].find((one) => sets.every((set) => set.has(one))) ?? String(this.#records.size + 1);
    const known = this.#records.get(id);
    const inputs = record.inputs.map((links, i): RecordLink[] => {
      const before = known?.record.inputs[i] ?? [];
      const isNew = (link: RecordLink): boolean =>
        !before.some(({ parent, selector }) => parent === link.parent && selector === link.selector);
      return [...before, ...links.filter(isNew)];
    });
    this.#records.set(id, {
      record: { digest: record.digest, inputs },
      results: result ? [result, ...(known?.results ?? [])] : (known?.results ?? []),
    });
    record.inputs.forEach((links, i) => {
      for (const { parent, selector } of links) {
        const key = [parent, i, record.digest, selector].join();
        const children = this.#children.get(key) ?? [];
        if (!children.includes(id)) this.#children.set(key, [...children, id]);
      }
    });
    return id;
  }
}

/** All results that were ever exported: where imported layers come from. */
const exported = new Map<Digest, Files>();
let session = 0;

async function solve(
  graph: Graph,
  local: MemoryStore,
  manifests: readonly Buffer[],
): Promise<{ result: Files; ran: number; manifest: Buffer }> {
  let ran = 0;
  session++;
  const idOf = (i: number): Digest => digestOf(`${i} ${JSON.stringify(describeVertex(graph, i))}`);
  const vertices = new Map(
    graph.map((step, i): [Digest, Vertex<Files>] => [
      idOf(i),
      {
        digest: idOf(i),
        name: `${i} ${step.kind}`,
        inputs: step.inputs.map((input) => ({ vertex: idOf(input), index: 0 })),
        ignoreCache: false,
        isSource: isSource(step),
        op: {
          cacheMaps: async () => [cacheMap(graph, i)],
          run: async (inputs) => {
            if (!isSource(step)) ran++;
            return [meaning(step, inputs)];
          },
        },
      },
    ]),
  );
  const solver = new Solver<Files>({
    vertices,
    local,
    imports: Promise.resolve(manifests.map(importedCache)),
    signal: new AbortController().signal,
    warn: () => undefined,
    isAvailable: () => true,
    events: { started: () => undefined, completed: () => undefined },
  });
  const target: Edge = { vertex: idOf(graph.length - 1), index: 0 };
  return solver.solve([target], async ([result]) => {
    const keys = await solver.keysOf(target);
    await solver.loadResults(keys);
    const manifest = await buildManifest({
      targets: keys,
      includes: () => true,
      layersOf: async (node) => {
        const value = node.result!.value as Files;
        const digest = digestOf(JSON.stringify(value));
        exported.set(digest, value);
        return [{ descriptor: { mediaType: "m", digest, size: 1, diffId: digest }, createdAt: 1000 }];
      },
    });
    return { result: result!, ran, manifest: encodeManifest(manifest) };
  });
}

/** A vertex's digest covers all below it, as an op's does. */
function describeVertex(graph: Graph, i: number): unknown {
  const { kind, text, inputs, path } = graph[i]!;
  return [
    kind,
    text,
    path,
    inputs.map((input) => describeVertex(graph, input)),
    kind === "local" ? session : 0,
  ];
}

/** What is read of a client's folder has a content key, or the step could never be found again. */
function cacheMap(graph: Graph, i: number): CacheMap<Files> {
  const { kind, text, path, inputs } = graph[i]!;
  if (kind === "image") return { digest: digestOf(`image ${text}`), inputs: [] };
  if (kind === "local") return { digest: `random:${i}-${session}`, inputs: [] };
  const whole = async (files: Files): Promise<Digest> => digestOf(`all ${JSON.stringify(files)}`);
  return {
    digest: digestOf(`${kind} ${kind === "copy" ? "" : text} ${path} ${inputs.length}`),
    inputs: inputs.map((input, at) => {
      if (kind === "copy" && at === inputs.length - 1 && at > 0) {
        const part = async (files: Files): Promise<Digest> => digestOf(`content ${files[path] ?? ""}`);
        return { selector: digestOf(`path ${path}`), contentDigest: part };
      }
      return kind === "run" || graph[input]!.kind === "local" ? { contentDigest: whole } : {};
    }),
  };
}

function importedCache(data: Buffer): CacheStore<Files> {
  const cache = {
    name: "imported",
    manifest: decodeManifest(data),
    blobs: { name: "blobs", open: () => Promise.reject(new Error("nobody reads them")) },
    hasBlob: async () => true,
  };
  return new ImportedCache<Files>({
    cache,
    load: async (layers) => exported.get(layers[0]!.descriptor.digest),
  });
}

describe("a step that makes what its own input is", () => {
  it("leaves a manifest without circles, in which everything is found", async () => {
    const image: Step = { kind: "image", text: "xxxx", inputs: [], path: "a" };
    const copy = (...inputs: number[]): Step => ({ kind: "copy", text: "", inputs, path: "a" });
    const graph = [
      image,
      copy(0, 0),
      copy(0, 1),
      { kind: "run", text: "last", inputs: [2], path: "a" } as const,
    ];
    const { manifest } = await solve(graph, new MemoryStore(), []);
    const again = await solve(graph, new MemoryStore(), [manifest]);
    expect(again).toMatchObject({ result: cleanBuild(graph), ran: 0 });
  });
});

const letters = fc.constantFrom("x", "y", "z");
const content = fc.tuple(letters, letters, letters, letters).map((list) => list.join(""));
const stepAt = (i: number): fc.Arbitrary<Step> => {
  const kind: fc.Arbitrary<Step["kind"]> =
    i < 2
      ? fc.constantFrom("image", "local")
      : fc.constantFrom("image", "local", "run", "run", "copy", "copy", "constant");
  const input = fc.nat({ max: Math.max(0, i - 1) });
  return fc
    .record({
      kind,
      text: content,
      inputs: fc.array(input, { minLength: 1, maxLength: 3 }),
      path: fc.constantFrom(...PATHS),
    })
    .map((step) => (step.kind === "image" || step.kind === "local" ? { ...step, inputs: [] } : step));
};
const graphs: fc.Arbitrary<Graph> = fc
  .integer({ min: 3, max: 10 })
  .chain((length) => fc.tuple(...Array.from({ length }, (_, i) => stepAt(i))))
  .map((steps) => [...steps, { kind: "run", text: "last", inputs: [steps.length - 1], path: "a" } as const]);

interface Change {
  readonly at: number;
  readonly text: string;
  readonly path: Path | undefined;
  /** caches of the build: whether the local store is the one of before, and which exports are imported */
  readonly keepsLocal: boolean;
  readonly imports: readonly number[];
}

const changes: fc.Arbitrary<readonly Change[]> = fc.array(
  fc.record({
    at: fc.nat(100),
    text: content,
    path: fc.option(fc.constantFrom(...PATHS), { nil: undefined }),
    keepsLocal: fc.boolean(),
    imports: fc.array(fc.nat(100), { maxLength: 3 }),
  }),
  { minLength: 1, maxLength: 6 },
);

function changed(graph: Graph, { at, text, path }: Change): Graph {
  const index = at % graph.length;
  return graph.map((step, i) => (i === index ? { ...step, text, path: path ?? step.path } : step));
}

const RUNS = Number(process.env["PROPERTY_RUNS"] ?? 150);

describe("builds with caches", () => {
  it(
    "give what a clean build gives, and run nothing that did not change",
    { timeout: 20_000 + RUNS * 200 },
    async () => {
      await fc.assert(
        fc.asyncProperty(graphs, changes, async (first, list) => {
          const manifests: Buffer[] = [];
          let local = new MemoryStore();
          let graph = first;
          for (const change of [undefined, ...list]) {
            if (change) graph = changed(graph, change);
            if (change && !change.keepsLocal) local = new MemoryStore();
            const imports = (change?.imports ?? []).map((i) => manifests[i % manifests.length]!);
            const expected = cleanBuild(graph);
            const built = await solve(graph, local, imports);
            expect(built.result).toEqual(expected);
            manifests.push(built.manifest);
            // the same again, from each cache alone
            const again = await solve(graph, local, []);
            expect(again).toMatchObject({ result: expected, ran: 0 });
            const elsewhere = await solve(graph, new MemoryStore(), [built.manifest]);
            expect(elsewhere).toMatchObject({ result: expected, ran: 0 });
            // an export of what was imported says no less
            const further = await solve(graph, new MemoryStore(), [elsewhere.manifest]);
            expect(further).toMatchObject({ result: expected, ran: 0 });
          }
        }),
        {
          numRuns: RUNS,
          ...(process.env["PROPERTY_SEED"] !== undefined && { seed: Number(process.env["PROPERTY_SEED"]) }),
        },
      );
    },
  );
});
