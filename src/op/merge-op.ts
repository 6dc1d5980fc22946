// Merge ops: the layers of several results one over another, without copying anything.
import { digestOf, goJson } from "../lib/index.js";
import type { MergeOp as MergeBody } from "../llb/index.js";
import type { Ref } from "../snapshot/index.js";
import type { CacheMap, Op } from "../solver/index.js";
import type { OpContext, RefResult } from "./context.js";

export class MergeOp implements Op<RefResult> {
  readonly #merge: MergeBody;
  readonly #context: OpContext;

  constructor(merge: MergeBody, context: OpContext) {
    this.#merge = merge;
    this.#context = context;
  }

  async cacheMaps(): Promise<readonly CacheMap<RefResult>[]> {
    const inputs = this.#merge.inputs.map((input) => ({ input: input || undefined }));
    const key = goJson({ Type: "buildkit.merge.v0", Merge: { inputs } });
    return [{ digest: digestOf(key), inputs: this.#merge.inputs.map(() => ({})) }];
  }

  async run(inputs: readonly RefResult[], signal: AbortSignal): Promise<readonly RefResult[]> {
    const { refs } = this.#context;
    let ref: Ref | undefined;
    for (const input of this.#merge.inputs) {
      const next = inputs[input]!.ref;
      if (!next) continue;
      if (!ref) ref = next;
      else for (const layer of next.chain) ref = await refs.stack(layer, ref, signal);
    }
    return [{ ref }];
  }
}
