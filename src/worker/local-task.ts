// A client's folder into a layer: only what the build reads, owned by root, with modes and times as they are.
import { chmodSync, linkSync, mkdirSync, symlinkSync, type BigIntStats } from "node:fs";
import { BuildError, codeOf } from "../lib/index.js";
import {
  copyFile,
  FolderComparison,
  FolderListing,
  join,
  readLink,
  selectedEntries,
  type FolderEntry,
  type SelectedEntry,
} from "../layer/index.js";
import { bytePath, fsPath, getXattr, listXattrs, setTimes, setXattr, type BytePath } from "../linux/index.js";
import type { LocalResult, LocalTask } from "./types.js";

/** What was copied the last time: files that are the same are linked to. */
export interface CopiedFolder {
  readonly folder: BytePath;
  readonly listing: FolderListing | undefined;
  /** milliseconds since 1970 */
  readonly takenAt: number;
}

/** @param task the listing's path is absolute */
export function runLocalTask(
  task: Omit<LocalTask, "previous">,
  target: BytePath,
  previous: CopiedFolder | undefined,
): LocalResult {
  try {
    const source = bytePath(task.folder);
    const entries = [...selectedEntries(source, task)];
    return new LocalCopy(source, target, previous).run(entries, task.listing);
  } catch (error) {
    if (codeOf(error) === "EACCES" || codeOf(error) === "EPERM") {
      const message = `error from sender: open ${(error as NodeJS.ErrnoException).path ?? task.folder}: permission denied`;
      throw new BuildError("CONTEXT_UNREADABLE", message, { cause: error });
    }
    throw error;
  }
}

/** How much a file's time may be behind the clock; milliseconds. */
const CLOCK_TICK = 20;

class LocalCopy {
  readonly #source: BytePath;
  readonly #target: BytePath;
  readonly #previous: CopiedFolder | undefined;
  /** what was changed later may be another file with the same time; nanoseconds since 1970 */
  readonly #unchangedSince: bigint;
  /** files that are as they were */
  readonly #unchanged = new Set<BytePath>();
  /** the first path of what has several */
  readonly #inodes = new Map<bigint, BytePath>();
  #bytes = 0;

  constructor(source: BytePath, target: BytePath, previous: CopiedFolder | undefined) {
    this.#source = source;
    this.#target = target;
    this.#previous = previous;
    this.#unchangedSince = BigInt(Math.floor((previous?.takenAt ?? 0) - CLOCK_TICK)) * 1_000_000n;
  }

  /** @param file where what is copied is listed */
  run(entries: readonly SelectedEntry[], file: string | undefined): LocalResult {
    const listing = new FolderListing();
    if (this.#isUnchanged(entries, listing)) return { isSame: true, bytes: 0 };
    if (file !== undefined) listing.write(file);
    const folders: SelectedEntry[] = [];
    for (const entry of entries) {
      if (entry.stat.isDirectory()) {
        mkdirSync(fsPath(join(this.#target, entry.path)), 0o755);
        folders.push(entry);
      } else this.#copy(entry.path, entry.stat);
    }
    // once nothing is written into them any more
    for (const { path, stat } of folders.reverse()) this.#attributes(path, stat);
    return { isSame: false, bytes: this.#bytes };
  }

  /** @param listing takes what is there now */
  #isUnchanged(entries: readonly SelectedEntry[], listing: FolderListing): boolean {
    const before = this.#previous?.listing;
    const comparison = before && new FolderComparison(before);
    let isSame = true;
    for (const { path, stat } of entries) {
      if (isLeftOut(stat)) continue;
      const entry = this.#entryOf(path, stat);
      listing.add(entry);
      if (!comparison?.matches(entry)) isSame = false;
      else if (stat.isDirectory()) continue;
      else if (stat.ctimeNs >= this.#unchangedSince) isSame = false;
      else if (stat.isFile()) this.#unchanged.add(path);
    }
    this.#inodes.clear();
    return isSame && comparison?.isComplete() === true;
  }

  /** As it would be in the target. */
  #entryOf(path: BytePath, stat: BigIntStats): FolderEntry {
    const same = this.#sameFile(path, stat);
    return {
      path,
      type: stat.isDirectory()
        ? "dir"
        : stat.isSymbolicLink()
          ? "symlink"
          : same === undefined
            ? "file"
            : "hardlink",
      mode: Number(stat.mode & 0o7777n),
      uid: 0,
      gid: 0,
      size: Number(stat.size),
      mtime: stat.mtimeNs,
      linkname: same ?? (stat.isSymbolicLink() ? readLink(join(this.#source, path)) : ""),
      hasXattrs: !stat.isSymbolicLink() && this.#xattrs(path).length > 0,
    };
  }

  /** The path that a file had before, if it has several. */
  #sameFile(path: BytePath, stat: BigIntStats): BytePath | undefined {
    if (!stat.isFile() || stat.nlink < 2n) return undefined;
    const known = this.#inodes.get(stat.ino);
    if (known === undefined) this.#inodes.set(stat.ino, path);
    return known;
  }

  #copy(path: BytePath, stat: BigIntStats): void {
    if (isLeftOut(stat)) return;
    const from = join(this.#source, path);
    const to = join(this.#target, path);
    if (stat.isFile()) {
      const same = this.#sameFile(path, stat);
      if (same !== undefined) linkSync(fsPath(join(this.#target, same)), fsPath(to));
      else if (this.#unchanged.has(path) && this.#reuse(path, to)) return;
      else {
        copyFile(from, to, stat.size);
        this.#bytes += Number(stat.size);
      }
    } else symlinkSync(fsPath(readLink(from)), fsPath(to));
    this.#attributes(path, stat);
  }

  #reuse(path: BytePath, to: BytePath): boolean {
    try {
      linkSync(fsPath(join(this.#previous!.folder, path)), fsPath(to));
      return true;
    } catch {
      // it is gone meanwhile, or has as many names as a file may have
      return false;
    }
  }

  #xattrs(path: BytePath): readonly string[] {
    return listXattrs(join(this.#source, path)).filter((name) => name.startsWith("user."));
  }

  #attributes(path: BytePath, stat: BigIntStats): void {
    const to = join(this.#target, path);
    if (!stat.isSymbolicLink()) {
      chmodSync(fsPath(to), Number(stat.mode & 0o7777n));
      const from = join(this.#source, path);
      for (const name of this.#xattrs(path)) {
        const value = getXattr(from, name);
        if (value) setXattr(to, name, value);
      }
    }
    setTimes(to, { atime: stat.atimeNs, mtime: stat.mtimeNs });
  }
}

/** Sockets and devices are not part of a context. */
function isLeftOut(stat: BigIntStats): boolean {
  return !stat.isDirectory() && !stat.isFile() && !stat.isSymbolicLink();
}
