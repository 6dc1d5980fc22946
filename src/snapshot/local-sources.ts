// What clients' folders were when they were last sent: what has not changed since is not sent again. One layer for each
// folder is kept as long as it is the last one, until it is pruned.
import type { Table } from "../content/index.js";
import type { Ref } from "./ref.js";
import type { RefStore } from "./ref-store.js";

export class LocalSources {
  readonly #refs: RefStore;
  /** the last layer of a folder */
  readonly #last: Table<number>;
  /** builds of this process that work with a layer */
  readonly #users = new Map<number, number>();

  constructor(refs: RefStore, last: Table<number>) {
    this.#refs = refs;
    this.#last = last;
  }

  /** The folder as it was last sent; it stays until it is released. @param key which folder of which client */
  take(key: string): Ref | undefined {
    const id = this.#last.get(key);
    const ref = id === undefined ? undefined : this.#refs.get(id);
    // what other layers stand on is taken anew, as in BuildKit
    if (!ref || !this.#refs.isAvailable(ref) || this.#refs.table.isNeeded(ref)) return undefined;
    this.#use(ref);
    return ref;
  }

  /** The folder as it is now; it stays until it is released, and then as long as it is the last. */
  keep(key: string, ref: Ref): void {
    void this.#last.put(key, ref.id);
    this.#use(ref);
  }

  #use({ id }: Ref): void {
    this.#users.set(id, (this.#users.get(id) ?? 0) + 1);
  }

  /** @param refs each once for every time it was taken or kept @returns those that nobody has a use for any more */
  release(refs: readonly Ref[]): readonly Ref[] {
    for (const { id } of refs) {
      const left = (this.#users.get(id) ?? 1) - 1;
      if (left > 0) this.#users.set(id, left);
      else this.#users.delete(id);
    }
    const last = new Set([...this.#last.getRange()].map(({ value }) => value));
    return [...new Set(refs)].filter(({ id }) => !last.has(id) && !this.#users.has(id));
  }
}
