// The state folder. Every process that uses it has a folder of its own for work in progress, held by a lock that dies
// with the process; what dead processes left is removed by the next one.
import { closeSync, existsSync, mkdirSync, openSync, readdirSync } from "node:fs";
import { rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { BuildError, codeOf } from "../lib/index.js";
import { tryLock } from "../linux/index.js";

export class StateDir {
  readonly root: string;
  /** this process's own folder: temporary files, active snapshots, containers */
  readonly own: string;
  readonly #lock: number;

  /** @throws BuildError STATE_DIR_UNWRITABLE */
  constructor(root: string) {
    this.root = root;
    const run = join(root, "run");
    this.own = join(run, `${process.pid}-${Date.now().toString(36)}`);
    try {
      makeFolders(this.own);
      this.#lock = openSync(join(this.own, "lock"), "w");
    } catch (error) {
      const hint = "choose another with --state-dir or BLUEKILN_STATE_DIR";
      throw new BuildError(
        "STATE_DIR_UNWRITABLE",
        `state directory ${root} cannot be written (${codeOf(error)}); ${hint}`,
        {
          cause: error,
        },
      );
    }
    tryLock(this.#lock);
  }

  /** Folders of processes that are gone. */
  abandoned(): string[] {
    const run = join(this.root, "run");
    return readdirSync(run)
      .map((name) => join(run, name))
      .filter((folder) => folder !== this.own && isFree(join(folder, "lock")));
  }

  async close(): Promise<void> {
    closeSync(this.#lock);
    await rm(this.own, { recursive: true, force: true });
  }
}

/** Not mkdir's recursive mode: Node never comes back from it where the kernel makes folders of its own (/proc). */
function makeFolders(path: string): void {
  if (existsSync(path)) return;
  makeFolders(dirname(path));
  try {
    mkdirSync(path, 0o711);
  } catch (error) {
    if (codeOf(error) !== "EEXIST") throw error;
  }
}

function isFree(lock: string): boolean {
  if (!existsSync(lock)) return false;
  const fd = openSync(lock, "r");
  try {
    return tryLock(fd);
  } finally {
    closeSync(fd);
  }
}
