// What is known of the errors of a build: which step each came from, and what that left behind.
import { SourceError, type FrontendOutcome } from "../frontend/index.js";
import { messageOf, type Digest } from "../lib/index.js";
import type { LeftBehind } from "../op/index.js";

export class Failures {
  readonly #steps = new Map<unknown, Digest>();
  readonly #left = new Map<unknown, LeftBehind>();

  /** Steps that need one that failed fail with its error: the first to say so is the one. */
  add(error: Error, step: Digest): void {
    if (!this.#steps.has(error)) this.#steps.set(error, step);
  }

  keep(error: unknown, left: LeftBehind): void {
    this.#left.set(error, left);
  }

  /** The step that an error, or what it wraps, came from. */
  step(error: unknown): Digest | undefined {
    const isWrapped = error instanceof Error && !this.#steps.has(error) && error.cause !== undefined;
    return isWrapped ? this.step(error.cause) : this.#steps.get(error);
  }

  /** `undefined` if that is nothing, or not kept */
  leftBehind(error: unknown): LeftBehind | undefined {
    return this.#left.get(error);
  }

  /** A step's error with its place in the Dockerfile. */
  located(error: unknown, { results, source }: FrontendOutcome): unknown {
    const step = this.step(error);
    const locations = results.flatMap(
      ({ definition }) => (step && definition?.source?.locations.get(step)) ?? [],
    );
    const ranges = locations[0]?.ranges ?? [];
    if (ranges.length === 0) return error;
    const located = new SourceError(messageOf(error), [ranges], error);
    located.file = source;
    return located;
  }
}
