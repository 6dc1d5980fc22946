// What of a folder is as it was: entries, told one by one, against a folder that was made of them earlier. As in BuildKit
// size, time, mode and owner tell; contents are not read.
import { readdirSync } from "node:fs";
import { fsPath, listXattrs, type BytePath } from "../linux/index.js";
import { join, lstatMaybe, readLink } from "./tree.js";

export interface FolderEntry {
  /** relative */
  readonly path: BytePath;
  readonly type: "dir" | "file" | "symlink" | "hardlink" | "other";
  /** without the type */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  /** nanoseconds since 1970 */
  readonly mtime: bigint;
  /** of a hard link the path of what it is the same as */
  readonly linkname: BytePath;
  readonly hasXattrs: boolean;
}

export class FolderComparison {
  readonly #folder: BytePath;
  /** what has been told, each once */
  readonly #told = new Set<BytePath>();
  /** files with several names that have been told by one of them */
  readonly #inodes = new Set<bigint>();
  /** folders that were folders before, and how many entries of each are as they were: no link leads out of them */
  readonly #folders = new Map<BytePath, number>([["", 0]]);

  /** @param folder it does not change */
  constructor(folder: BytePath) {
    this.#folder = folder;
  }

  /** Folders have to be told before what is in them. @returns whether the entry is as it was */
  matches(entry: FolderEntry): boolean {
    const { path } = entry;
    const parent = path.includes("/") ? path.slice(0, path.lastIndexOf("/")) : "";
    const count = this.#folders.get(parent);
    if (count === undefined || this.#told.has(path)) return false;
    if (!this.#isSame(entry)) return false;
    this.#told.add(path);
    this.#folders.set(parent, count + 1);
    return true;
  }

  /** Whether there is nothing else in the folder. */
  isComplete(): boolean {
    return [...this.#folders].every(
      ([path, count]) => readdirSync(fsPath(join(this.#folder, path))).length === count,
    );
  }

  #isSame({ path, type, mode, uid, gid, size, mtime, linkname, hasXattrs }: FolderEntry): boolean {
    const known = join(this.#folder, path);
    const stat = lstatMaybe(known);
    if (!stat) return false;
    if (type === "dir" && stat.isDirectory()) this.#folders.set(path, 0);
    if (type === "hardlink")
      return this.#told.has(linkname) && lstatMaybe(join(this.#folder, linkname))?.ino === stat.ino;
    const isSame =
      Number(stat.uid) === uid && Number(stat.gid) === gid && stat.mtimeNs === mtime && !hasXattrs;
    if (!isSame || listXattrs(known).length > 0) return false;
    if (type === "symlink") return stat.isSymbolicLink() && readLink(known) === linkname;
    if (Number(stat.mode & 0o7777n) !== mode) return false;
    if (type === "dir") return stat.isDirectory();
    if (type !== "file" || !stat.isFile() || Number(stat.size) !== size) return false;
    if (this.#inodes.has(stat.ino)) return false;
    if (stat.nlink > 1n) this.#inodes.add(stat.ino);
    return true;
  }
}
