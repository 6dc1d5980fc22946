// Who builds now, in any process on the state folder. A logical clock ticks with every build that begins; what a build
// uses is stamped with the clock's time, so whatever carries a stamp older than the oldest build that still runs is in
// nobody's use. Builds of processes that died don't count: their lock is free.
import type { Database, StateDir, Table } from "../content/index.js";

export class Activity {
  readonly #state: StateDir;
  readonly #database: Database;
  readonly #counters: Table<number>;
  /** "<process>/<number>" -> time of its beginning */
  readonly #builds: Table<number>;
  #count = 0;

  constructor(state: StateDir, database: Database) {
    this.#state = state;
    this.#database = database;
    this.#counters = database.table("counters");
    this.#builds = database.table("builds");
  }

  /** A build begins. @returns what ends it */
  begin(): () => void {
    const key = `${this.#state.name}/${++this.#count}`;
    this.#database.transaction(() => {
      const time = this.now() + 1;
      void this.#counters.put("clock", time);
      void this.#builds.put(key, time);
    });
    return () => void this.#builds.remove(key);
  }

  /** In a transaction: the stamp of what is used now. */
  now(): number {
    return this.#counters.get("clock") ?? 0;
  }

  /** In a transaction: what carries this stamp or a later one may be in use. */
  oldest(): number {
    const builds = [...this.#builds.getRange()];
    const alive = builds.filter(({ key }) => this.#state.isAlive(key.split("/")[0]!));
    for (const build of builds) if (!alive.includes(build)) void this.#builds.remove(build.key);
    return Math.min(...alive.map(({ value }) => value));
  }
}
