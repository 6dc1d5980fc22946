// When a request is tried again, and how long after: exponential with jitter, no sooner than the server asks, and as
// often as one build may.
import { setTimeout as sleep } from "node:timers/promises";

const TRIES = 6;
/** A line that is dead costs its whole timeout at every try. */
const STALLS = 3;
const BASE_DELAY = 200;
const MAX_DELAY = 8000;
/** What a server asks for is heeded up to this; milliseconds. */
const MAX_RETRY_AFTER = 60_000;

const RETRIABLE = new Set([408, 429, 500, 502, 503, 504]);

/** What can be read of a failed request. */
export interface RequestFailure {
  /** `undefined`: no answer came */
  readonly status: number | undefined;
  /** milliseconds */
  readonly retryAfter: number | undefined;
  /** nothing moved until it was given up */
  readonly isStall?: boolean;
}

/** Retries of a build: everything shares them, so that a dead server is not asked a thousand times. */
export class RetryBudget {
  #left: number;
  /** so far */
  used = 0;

  constructor(size = 200) {
    this.#left = size;
  }

  /** @returns whether there is another */
  take(): boolean {
    if (this.#left === 0) return false;
    this.#left--;
    this.used++;
    return true;
  }
}

/**
 * @param failureOf what is known of an error; `undefined` if trying again is of no use
 * @throws the last error
 */
export async function retrying<T>(
  task: () => Promise<T>,
  failureOf: (error: unknown) => RequestFailure | undefined,
  budget: RetryBudget,
  signal: AbortSignal,
): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await task();
    } catch (error) {
      const failure = signal.aborted ? undefined : failureOf(error);
      if (
        !failure ||
        tries >= (failure.isStall ? STALLS : TRIES) ||
        (failure.status !== undefined && !RETRIABLE.has(failure.status)) ||
        !budget.take()
      )
        throw error;
      await sleep(delay(tries, failure), undefined, { signal }).catch(() => undefined);
      if (signal.aborted) throw error;
    }
  }
}

function delay(tries: number, { retryAfter = 0 }: RequestFailure): number {
  const ceiling = Math.min(MAX_DELAY, BASE_DELAY * 2 ** (tries - 1));
  return Math.max(ceiling * (0.5 + Math.random() / 2), Math.min(retryAfter, MAX_RETRY_AFTER));
}
