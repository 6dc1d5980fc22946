// What a folder was when it was taken in, entry by entry, kept beside it: entries that are told the next time are
// compared with that. As in BuildKit size, time, mode and owner tell; contents are not read, nor is the folder, which
// does not change.
import { readFileSync, writeFileSync } from "node:fs";
import type { BytePath } from "../linux/index.js";

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

/** No path and no link has it. */
const SEPARATOR = "\0";

export class FolderListing {
  /** texts by paths */
  readonly #entries = new Map<BytePath, string>();

  /** @returns `undefined` if there is none */
  static read(file: string): FolderListing | undefined {
    try {
      const listing = new FolderListing();
      const parts = readFileSync(file, "latin1").split(SEPARATOR);
      if (parts.pop() !== "" || parts.length % 2 !== 0) return undefined;
      for (let i = 0; i < parts.length; i += 2) listing.#entries.set(parts[i]!, parts[i + 1]!);
      return listing;
    } catch {
      return undefined;
    }
  }

  add(entry: FolderEntry): void {
    const text = textOf(entry);
    if (text !== undefined) this.#entries.set(entry.path, text);
  }

  /** What cannot be kept is taken in anew the next time. */
  write(file: string): void {
    try {
      const parts = [...this.#entries].flatMap(([path, text]) => [path, SEPARATOR, text, SEPARATOR]);
      writeFileSync(file, parts.join(""), "latin1");
    } catch {
      // too long for a string, or a full disk, which is for those to tell who need it
    }
  }

  has(entry: FolderEntry): boolean {
    return this.#entries.get(entry.path) === textOf(entry);
  }

  get size(): number {
    return this.#entries.size;
  }
}

/** @returns `undefined` for what is never taken for the same */
function textOf({ type, mode, uid, gid, size, mtime, linkname, hasXattrs }: FolderEntry): string | undefined {
  if (hasXattrs || type === "other") return undefined;
  // the size of a folder says nothing
  return [type, mode, uid, gid, type === "file" ? size : 0, mtime, linkname].join(" ");
}

/** Entries that are told one by one, each once, against a listing. */
export class FolderComparison {
  readonly #listing: FolderListing;
  readonly #same = new Set<BytePath>();

  constructor(listing: FolderListing) {
    this.#listing = listing;
  }

  /** @returns whether the entry is as it was */
  matches(entry: FolderEntry): boolean {
    const isSame = this.#listing.has(entry) && !this.#same.has(entry.path);
    if (isSame) this.#same.add(entry.path);
    return isSame;
  }

  /** Whether there was nothing else. */
  isComplete(): boolean {
    return this.#same.size === this.#listing.size;
  }
}
