// The builds that run, by the id their client gave them. Their messages come in any order: look-ups wait.
import { Code, ConnectError } from "@connectrpc/connect";
import type { DaemonBuild } from "./daemon-build.js";
import { StatusLog } from "./status.js";

/** Milliseconds that a build is waited for. */
const PATIENCE = 5000;
/** Milliseconds that a build's events are kept after its end, for those who ask late. */
const AFTERWARDS = 10_000;

/** A build from the moment its request comes. */
export interface BuildEntry {
  readonly log: StatusLog;
  /** once its session is there */
  readonly build: Promise<DaemonBuild>;
}

export class Builds {
  readonly #entries = new Map<string, BuildEntry>();
  readonly #waiting = new Map<string, Set<(entry: BuildEntry) => void>>();

  /** @throws ConnectError if there is one with this id */
  begin(ref: string, start: (log: StatusLog) => Promise<DaemonBuild>): BuildEntry {
    if (this.#entries.has(ref)) throw new ConnectError(`job ID ${ref} exists`, Code.Unknown);
    const log = new StatusLog();
    const entry = { log, build: start(log) };
    entry.build.catch(() => undefined);
    this.#entries.set(ref, entry);
    for (const waiting of this.#waiting.get(ref) ?? []) waiting(entry);
    this.#waiting.delete(ref);
    return entry;
  }

  end(ref: string): void {
    this.#entries.get(ref)?.log.close();
    setTimeout(() => this.#entries.delete(ref), AFTERWARDS).unref();
  }

  /** @throws ConnectError if it does not come */
  async get(ref: string): Promise<BuildEntry> {
    const known = this.#entries.get(ref);
    if (known) return known;
    return new Promise((resolve, reject) => {
      const waiting = this.#waiting.get(ref) ?? new Set();
      this.#waiting.set(ref, waiting);
      const timer = setTimeout(() => {
        waiting.delete(found);
        reject(new ConnectError(`no such job ${ref}`, Code.NotFound));
      }, PATIENCE);
      const found = (entry: BuildEntry): void => {
        clearTimeout(timer);
        resolve(entry);
      };
      waiting.add(found);
    });
  }
}
