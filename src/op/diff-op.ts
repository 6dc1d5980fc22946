// Diff ops: what has to be changed in one result to make it another.
import { digestOf, goJson } from "../lib/index.js";
import type { DiffOp as DiffBody } from "../llb/index.js";
import type { Ref } from "../snapshot/index.js";
import type { CacheMap, Op } from "../solver/index.js";
import type { OpContext, RefResult } from "./context.js";

export class DiffOp implements Op<RefResult> {
  readonly #diff: DiffBody;
  readonly #name: string;
  readonly #context: OpContext;

  /** @param name of the step: what it makes is described by it */
  constructor(diff: DiffBody, name: string, context: OpContext) {
    this.#diff = diff;
    this.#name = name;
    this.#context = context;
  }

  async cacheMaps(): Promise<readonly CacheMap<RefResult>[]> {
    const { lower, upper } = this.#diff;
    const key = goJson({
      Type: "buildkit.diff.v0",
      Diff: { lower: { input: lower || undefined }, upper: { input: upper || undefined } },
    });
    return [{ digest: digestOf(key), inputs: [lower, upper].filter((input) => input >= 0).map(() => ({})) }];
  }

  async run(inputs: readonly RefResult[], signal: AbortSignal): Promise<readonly RefResult[]> {
    const refOf = (input: number): Ref | undefined => (input < 0 ? undefined : inputs[input]!.ref);
    const [lower, upper] = [refOf(this.#diff.lower), refOf(this.#diff.upper)];
    if (lower === upper) return [{ ref: undefined }];
    const chain = upper?.chain ?? [];
    const common = lower?.chain.length ?? 0;
    const isAncestor =
      !lower || (lower.chain.every((layer, i) => layer === chain[i]) && common < chain.length);
    return [
      {
        ref: isAncestor
          ? await this.#layers(chain.slice(common), signal)
          : await this.#compare(lower, upper, signal),
      },
    ];
  }

  /** What one result has on top of another is its layers there. */
  async #layers(layers: readonly Ref[], signal: AbortSignal): Promise<Ref | undefined> {
    const { refs } = this.#context;
    let ref: Ref | undefined;
    for (const layer of layers) ref = layer.parent || ref ? await refs.stack(layer, ref, signal) : layer;
    return ref;
  }

  async #compare(lower: Ref, upper: Ref | undefined, signal: AbortSignal): Promise<Ref> {
    const { refs, worker, made } = this.#context;
    const tree = async (ref: Ref | undefined) =>
      ({ kind: "layers", layers: await refs.folders(ref, signal) }) as const;
    const { upper: target } = refs.newFolders();
    try {
      await worker.perform("compare", { lower: await tree(lower), upper: await tree(upper), target }, signal);
      const ref = await refs.commit(target, undefined, this.#name);
      made(ref);
      return ref;
    } catch (error) {
      await refs.discard(target);
      throw error;
    }
  }
}
