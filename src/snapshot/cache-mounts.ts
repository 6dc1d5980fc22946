// Folders of RUN --mount=type=cache, shared by builds and processes. A folder in use is locked (shared), so that nobody
// removes it; one that a step wants for itself is locked exclusively besides. Locks die with their process.
import {
  closeSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { createHash } from "node:crypto";
import { rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { StateDir } from "../content/index.js";
import { codeOf } from "../lib/index.js";
import { tryLock } from "../linux/index.js";
import type { Ref } from "./ref.js";

/** SHARED: everybody at once; PRIVATE: a folder of one's own while others use theirs; LOCKED: one after another */
export type CacheSharing = "SHARED" | "PRIVATE" | "LOCKED";

export interface CacheMountRequest {
  readonly id: string;
  /** what a new folder begins with; another one makes another folder */
  readonly base: Ref | undefined;
  readonly sharing: CacheSharing;
  readonly description: string;
  /** fills a new folder (relative to the state folder) before anybody sees it */
  readonly seed: (folder: string) => Promise<void>;
}

export interface CacheMount {
  /** absolute */
  readonly folder: string;
  release(): void;
}

export interface CacheMountInfo {
  readonly name: string;
  /** relative to the state folder */
  readonly path: string;
  readonly description: string;
  /** id of the layer it began with */
  readonly base: number | undefined;
  /** milliseconds since 1970 */
  readonly createdAt: number;
  readonly usedAt: number;
  readonly inUse: boolean;
}

interface SavedInfo {
  /** none: it was given up, and nobody finds it any more */
  readonly id?: string | undefined;
  readonly base?: number | undefined;
  readonly description?: string;
}

const POLL = 50;

export class CacheMounts {
  readonly #state: StateDir;
  readonly #root: string;
  #trash = 0;

  constructor(state: StateDir) {
    this.#state = state;
    this.#root = join(state.root, "caches");
    mkdirSync(this.#root, { recursive: true });
  }

  /** Waits for a LOCKED folder until it is free. */
  async acquire(request: CacheMountRequest, signal: AbortSignal): Promise<CacheMount> {
    const key = `${request.id}\0${request.base?.id ?? ""}`;
    const base = createHash("sha256").update(key).digest("hex").slice(0, 24);
    for (let attempt = 0; ; attempt++) {
      signal.throwIfAborted();
      const name = request.sharing === "PRIVATE" && attempt > 0 ? `${base}-${attempt}` : base;
      const locks = this.#lock(name, request);
      if (locks) {
        const release = (): void => locks.forEach((fd) => closeSync(fd));
        try {
          return { folder: await this.#fill(name, request), release };
        } catch (error) {
          release();
          throw error;
        }
      }
      if (request.sharing !== "PRIVATE") await sleep(POLL, undefined, { signal });
    }
  }

  /** @returns descriptors that hold the locks; `undefined` if somebody else has them */
  #lock(name: string, { id, sharing, base, description }: CacheMountRequest): number[] | undefined {
    const folder = join(this.#root, name);
    mkdirSync(folder, { recursive: true });
    const locks: number[] = [];
    const take = (file: string, shared: boolean): boolean => {
      const path = join(folder, file);
      const fd = openSync(path, "a");
      locks.push(fd);
      // a folder that was removed between the two is not the one whose file is locked
      return tryLock(fd, shared) && statSync(path, { throwIfNoEntry: false })?.ino === fstatSync(fd).ino;
    };
    try {
      if (take("lock", true) && (sharing === "SHARED" || take("owner", false))) {
        const now = new Date();
        utimesSync(join(folder, "lock"), now, now);
        const info = JSON.stringify({ id, base: base?.id, description } satisfies SavedInfo);
        if (readText(join(folder, "info.json")) !== info) writeFileSync(join(folder, "info.json"), info);
        return locks;
      }
    } catch (error) {
      // removed while it was opened
      if (codeOf(error) !== "ENOENT") throw error;
    }
    for (const fd of locks) closeSync(fd);
    return undefined;
  }

  async #fill(name: string, { seed }: CacheMountRequest): Promise<string> {
    const folder = join(this.#root, name, "fs");
    if (statSync(folder, { throwIfNoEntry: false })) return folder;
    const fresh = `caches/${name}/new-${process.pid}-${++this.#trash}`;
    mkdirSync(join(this.#state.root, fresh));
    await seed(fresh);
    try {
      await rename(join(this.#state.root, fresh), folder);
    } catch (error) {
      // somebody was faster
      await rm(join(this.#state.root, fresh), { recursive: true, force: true });
      if (codeOf(error) !== "ENOTEMPTY" && codeOf(error) !== "EEXIST") throw error;
    }
    return folder;
  }

  list(): readonly CacheMountInfo[] {
    return readdirSync(this.#root).flatMap((name): CacheMountInfo[] => {
      const folder = join(this.#root, name);
      const lock = statSync(join(folder, "lock"), { throwIfNoEntry: false });
      if (!lock) return [];
      const { base, description = "" } = savedInfo(folder);
      const [createdAt, usedAt] = [lock.birthtimeMs, lock.mtimeMs];
      const inUse = !this.#isFree(name);
      return [{ name, path: `caches/${name}`, description, base, createdAt, usedAt, inUse }];
    });
  }

  /** Whoever asks for this id from now on gets a new folder; those who have the old one keep it until they are done. */
  forget(id: string): void {
    for (const name of readdirSync(this.#root)) {
      if (savedInfo(join(this.#root, name)).id !== id) continue;
      const gone = `${name}-gone-${process.pid}-${++this.#trash}`;
      try {
        renameSync(join(this.#root, name), join(this.#root, gone));
        writeFileSync(
          join(this.#root, gone, "info.json"),
          JSON.stringify({ ...savedInfo(join(this.#root, gone)), id: undefined } satisfies SavedInfo),
        );
      } catch (error) {
        // removed meanwhile
        if (codeOf(error) !== "ENOENT") throw error;
      }
    }
  }

  #isFree(name: string): boolean {
    const locks = this.#exclusive(name);
    if (locks === undefined) return false;
    closeSync(locks);
    return true;
  }

  #exclusive(name: string): number | undefined {
    try {
      const fd = openSync(join(this.#root, name, "lock"), "r");
      if (tryLock(fd)) return fd;
      closeSync(fd);
    } catch (error) {
      if (codeOf(error) !== "ENOENT") throw error;
    }
    return undefined;
  }

  /** @returns false if somebody uses it */
  async remove(name: string): Promise<boolean> {
    const lock = this.#exclusive(name);
    if (lock === undefined) return false;
    const trash = join(this.#state.own, `m${++this.#trash}`);
    try {
      await rename(join(this.#root, name), trash);
    } finally {
      closeSync(lock);
    }
    await rm(trash, { recursive: true, force: true });
    return true;
  }
}

function savedInfo(folder: string): SavedInfo {
  const text = readText(join(folder, "info.json"));
  // a process may have been killed while it wrote it
  return (text?.endsWith("}") ? JSON.parse(text) : {}) as SavedInfo;
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
