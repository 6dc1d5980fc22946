// What becomes of a build's results: its outputs and its caches.
import type { RefResult } from "../cache/index.js";
import type { Predicate } from "../exporter/index.js";
import type { Platform } from "../llb/index.js";
import type { KeyNode, Solver } from "../solver/index.js";
import type { Ref } from "../snapshot/index.js";
import { exportCaches } from "./export-cache.js";
import { exportOutputs, type ExportedResults } from "./export-outputs.js";
import type { Job, Solution } from "./job.js";
import type { ExportRequest, OutputWishes } from "./types.js";

/** A result of one platform, not solved yet. */
export interface Outcome {
  /** `undefined`: an image without layers */
  readonly solution: Solution | undefined;
  readonly platform: Platform;
  /** the image's config without the layers made by the build */
  readonly config: string;
  readonly baseConfig: string | undefined;
  /** what its frontend says of it */
  readonly predicates?: readonly Predicate[] | undefined;
}

export interface Outcomes extends OutputWishes {
  readonly results: readonly Outcome[];
  /** the image is an index even if it has one platform */
  readonly multiPlatform: boolean;
}

/** Solves what is to be exported and exports it; again, should a cached result turn out to be lost meanwhile. */
export async function exportBuild(
  job: Job,
  request: ExportRequest,
  { results, multiPlatform, ...said }: Outcomes,
): Promise<Record<string, unknown>> {
  const solutions = results.flatMap(({ solution }) => (solution ? [solution] : []));
  // all have the same caches, and so one solver
  const solver = solutions[0]?.solver;
  if (!solver) {
    const empty = results.map((result) => ({ ...result, definition: undefined, ref: undefined, keys: [] }));
    return exportAll(job, request, { results: empty, multiPlatform, ...said }, [], undefined);
  }
  const targets = solutions.map(({ edge }) => edge);
  return solver.solve(targets, async (values) => {
    const solved = [...values];
    const keysOf = await Promise.all(targets.map((target) => solver.keysOf(target)));
    const keys = keysOf.flat();
    const platforms = results.map((result) => ({
      ...result,
      definition: result.solution?.definition,
      ref: result.solution && solved.shift()!.ref,
      keys: result.solution ? keysOf.shift()! : [],
      refsOfSteps: result.solution && refsOfSteps(result.solution),
    }));
    return exportAll(job, request, { results: platforms, multiPlatform, ...said }, keys, solver);
  });
}

/** What the steps of a graph gave, by "DIGEST:INDEX" of their outputs, as far as it is known. */
function refsOfSteps({ solver, definition }: Solution): () => Promise<ReadonlyMap<string, Ref>> {
  return async () => {
    const inputs = definition.ops.flatMap(({ op }) => op.inputs);
    const edges = [...new Map(inputs.map((input) => [`${input.digest}:${input.index}`, input])).entries()];
    const results = await solver.knownResults(
      edges.map(([, { digest, index }]) => ({ vertex: digest, index })),
    );
    return new Map(
      edges.flatMap(([name], i) => {
        const ref = results[i]?.ref;
        return ref ? [[name, ref] as const] : [];
      }),
    );
  };
}

/** The cache goes out while the image is pushed; a failure of the image comes first. */
async function exportAll(
  job: Job,
  request: ExportRequest,
  results: ExportedResults,
  keys: readonly KeyNode[],
  solver: Solver<RefResult> | undefined,
): Promise<Record<string, unknown>> {
  const { engine, progress, places } = job;
  const { cacheTo } = request;
  const loading = cacheTo.length > 0 ? solver?.loadResults(keys) : undefined;
  if (cacheTo.some(({ place }) => place.type === "inline")) await loading;
  const output = exportOutputs(job, request, results);
  output.catch(() => undefined);
  await loading;
  const caches = exportCaches(engine, request, keys, places, progress);
  caches.catch(() => undefined);
  const metadata = await output;
  await caches;
  const traffic = places.traffic();
  return Object.keys(traffic).length > 0 ? { ...metadata, "bluekiln.cache.traffic": traffic } : metadata;
}
