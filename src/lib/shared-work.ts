// Work that several want at the same time.

interface Running<T> {
  readonly done: Promise<T>;
  readonly signal: AbortSignal;
}

/** Work by key: done once for all that want it meanwhile, and again for the others if who began it gives up. */
export class SharedWork<K, T> {
  readonly #running = new Map<K, Running<T>>();

  /** @throws what the work throws */
  async run(key: K, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    for (let joined = this.#running.get(key); joined; joined = this.#running.get(key)) {
      try {
        return await joined.done;
      } catch (error) {
        if (signal.aborted || !joined.signal.aborted) throw error;
      }
    }
    const done = work().finally(() => this.#running.delete(key));
    this.#running.set(key, { done, signal });
    return done;
  }
}
