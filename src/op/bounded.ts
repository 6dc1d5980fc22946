// Steps of which no more than so many run at once, whosever builds they are of.
import type { Limiter } from "../lib/index.js";
import type { CacheMap, Op } from "../solver/index.js";

export class BoundedOp<R> implements Op<R> {
  readonly #op: Op<R>;
  readonly #steps: Limiter;

  constructor(op: Op<R>, steps: Limiter) {
    this.#op = op;
    this.#steps = steps;
  }

  cacheMaps(signal: AbortSignal): Promise<readonly CacheMap<R>[]> {
    return this.#op.cacheMaps(signal);
  }

  /** @throws the signal's reason, at once as long as it waits */
  run(inputs: readonly R[], signal: AbortSignal): Promise<readonly R[]> {
    return new Promise((resolve, reject) => {
      const giveUp = (): void => reject(signal.reason as Error);
      signal.addEventListener("abort", giveUp, { once: true });
      this.#steps
        .run(async () => {
          signal.removeEventListener("abort", giveUp);
          signal.throwIfAborted();
          return this.#op.run(inputs, signal);
        })
        .then(resolve, reject);
    });
  }
}
