// Build ops: a graph that an input has in a file, solved in the place of the op.
import { BuildError, digestOf, goJson } from "../lib/index.js";
import type { BuildOp as BuildBody } from "../llb/index.js";
import type { CacheMap, Op } from "../solver/index.js";
import type { OpContext, RefResult } from "./context.js";

const DEFINITION = "buildkit.llb.definition";
const LLB_BUILDER = -1;

export class BuildOp implements Op<RefResult> {
  readonly #build: BuildBody;
  readonly #inputCount: number;
  readonly #context: OpContext;

  constructor(build: BuildBody, inputCount: number, context: OpContext) {
    this.#build = build;
    this.#inputCount = inputCount;
    this.#context = context;
  }

  async cacheMaps(): Promise<readonly CacheMap<RefResult>[]> {
    const { builder, inputs, attrs } = this.#build;
    const named = Object.entries(inputs).map(
      ([name, input]) => [name, { input: input || undefined }] as const,
    );
    const Exec = {
      builder: builder || undefined,
      inputs: named.length > 0 ? Object.fromEntries(named) : undefined,
      attrs: Object.keys(attrs).length > 0 ? attrs : undefined,
    };
    const digest = digestOf(goJson({ Type: "buildkit.build.v0", Exec }));
    return [{ digest, inputs: Array.from({ length: this.#inputCount }, () => ({})) }];
  }

  async run(inputs: readonly RefResult[], signal: AbortSignal): Promise<readonly RefResult[]> {
    const { refs, worker, solveGraph } = this.#context;
    const { builder, inputs: named, attrs } = this.#build;
    if (builder !== LLB_BUILDER) throw invalid("only LLB builder is currently allowed");
    const index = named[DEFINITION];
    if (index === undefined) throw invalid(`no llb definition input ${DEFINITION} found`);
    const input = inputs[index];
    if (!input) throw invalid(`invalid index ${index}`);
    const path = attrs["llbbuild.filename"] ?? DEFINITION;
    const tree = { kind: "layers", layers: await refs.folders(input.ref, signal) } as const;
    const [data] = await worker.perform("read", { tree, paths: [path], limit: Infinity }, signal);
    if (!data) throw invalid(`failed to open ${path}: open ${path}: no such file or directory`);
    return [await solveGraph(data)];
  }
}

function invalid(problem: string): BuildError {
  return new BuildError("BUILD_OP_INVALID", problem);
}
