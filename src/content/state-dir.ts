// The state folder. Every process that uses it has a folder of its own for work in progress, held by a lock that dies
// with the process; what dead processes left is removed by the next one.
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, renameSync, statSync } from "node:fs";
import { rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { BuildError, codeOf } from "../lib/index.js";
import { tryLock } from "../linux/index.js";

export class StateDir {
  readonly root: string;
  /** this process's own folder: temporary files, active snapshots, containers */
  readonly own: string;
  /** of this process, as others see it */
  readonly name: string;
  readonly #lock: number;

  /** @throws BuildError STATE_DIR_UNWRITABLE */
  constructor(root: string) {
    this.root = root;
    const run = join(root, "run");
    this.name = `${process.pid}-${Date.now().toString(36)}`;
    this.own = join(run, this.name);
    try {
      makeFolders(this.own);
      // locked before others see it, so that nobody takes it for the lock of a dead process
      this.#lock = openSync(join(this.own, "lock.new"), "w");
      tryLock(this.#lock);
      renameSync(join(this.own, "lock.new"), join(this.own, "lock"));
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
  }

  /** Folders of processes that are gone. */
  abandoned(): string[] {
    const run = join(this.root, "run");
    return readdirSync(run)
      .map((name) => join(run, name))
      .filter((folder) => folder !== this.own && isFree(join(folder, "lock")));
  }

  /** Whether the process of this name still runs. */
  isAlive(name: string): boolean {
    const folder = join(this.root, "run", name);
    return name === this.name || (existsSync(folder) && !isFree(join(folder, "lock")));
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

/** A process that died before it had its lock. */
function isOld(folder: string): boolean {
  return Date.now() - (statSync(folder, { throwIfNoEntry: false })?.mtimeMs ?? Date.now()) > 3600_000;
}

function isFree(lock: string): boolean {
  if (!existsSync(lock)) return isOld(dirname(lock));
  let fd: number | undefined;
  try {
    fd = openSync(lock, "r");
    return tryLock(fd);
  } catch {
    // gone since the folder was listed
    return false;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}
