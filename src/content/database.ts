// The metadata database: an lmdb environment that several processes may have open at once. Values are JSON-like; every
// write is one transaction, so a killed process leaves either all of it or nothing.
import { open, type Database as LmdbTable, type RootDatabase } from "lmdb";
import { join } from "node:path";

// Memory is initialized before it reaches the file (no `noMemInit`): it may have held a key.
export type Table<V> = LmdbTable<V, string>;

export class Database {
  readonly #root: RootDatabase;

  constructor(folder: string) {
    this.#root = open({ path: join(folder, "metadata.lmdb"), maxDbs: 16, noMetaSync: true });
  }

  table<V>(name: string): Table<V> {
    return this.#root.openDB<V, string>({ name, encoding: "json" });
  }

  /** Runs `task` alone: no other writer, in this process or another. */
  transaction<T>(task: () => T): T {
    return this.#root.transactionSync(task);
  }

  /** The same, together with others that wait: many small ones cost little more than one. */
  queued<T>(task: () => T): Promise<T> {
    return this.#root.transaction(task);
  }

  async close(): Promise<void> {
    await this.#root.close();
  }
}
