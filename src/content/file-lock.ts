// One holder at a time for a name, among all builds of all processes on a state folder. The lock dies with its process.
import { closeSync, fstatSync, mkdirSync, openSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { codeOf } from "../lib/index.js";
import { tryLock } from "../linux/index.js";

export interface HeldLock {
  /** somebody else had it first */
  readonly waited: boolean;
  release(): void;
}

const POLL = 50;

export class FileLocks {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
    mkdirSync(folder, { recursive: true });
  }

  /** @param name a file name */
  async hold(name: string, signal: AbortSignal): Promise<HeldLock> {
    const path = join(this.#folder, name);
    for (let waited = false; ; waited = true) {
      signal.throwIfAborted();
      const fd = openSync(path, "a");
      if (tryLock(fd) && isAt(path, fd)) {
        const release = (): void => {
          // removed while it is held: who waits for it sees that, and makes a new one
          rmSync(path, { force: true });
          closeSync(fd);
        };
        return { waited, release };
      }
      closeSync(fd);
      await sleep(POLL, undefined, { signal });
    }
  }
}

function isAt(path: string, fd: number): boolean {
  try {
    return statSync(path).ino === fstatSync(fd).ino;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return false;
    throw error;
  }
}
