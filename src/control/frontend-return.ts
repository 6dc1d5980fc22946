// What a frontend returns in the end, for those who wait for it.
import type { Result } from "./gen/buildkit/gateway_pb.js";

export class FrontendReturn {
  /** fails with what the frontend, or its build, fails with */
  readonly done: Promise<Result>;
  #return!: (result: Result) => void;
  #fail!: (error: Error) => void;

  /** @param signal of the build */
  constructor(signal: AbortSignal) {
    this.done = new Promise((resolve, reject) => {
      this.#return = resolve;
      this.#fail = reject;
      const abort = (): void => reject(signal.reason as Error);
      if (signal.aborted) abort();
      else signal.addEventListener("abort", abort, { once: true });
    });
    this.done.catch(() => undefined);
  }

  return(result: Result): void {
    this.#return(result);
  }

  fail(error: Error): void {
    this.#fail(error);
  }
}
