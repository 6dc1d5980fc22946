// Tar entries as files: contents, owners, modes, times, extended attributes, devices. Where an entry goes, and what
// was there before, is the caller's business; folders get their attributes last, because their content changes them.
import {
  chmodSync,
  closeSync,
  fchmodSync,
  fchownSync,
  futimesSync,
  lchownSync,
  linkSync,
  mkdirSync,
  openSync,
  statfsSync,
  symlinkSync,
  writeSync,
} from "node:fs";
import { BuildError, codeOf } from "../lib/index.js";
import { textOf, fsPath, makeNode, setTimes, setXattr, type BytePath } from "../linux/index.js";
import type { TarEntry } from "./types.js";

const S_IFIFO = 0o010000;
const S_IFCHR = 0o020000;
const S_IFBLK = 0o060000;

/** Bytes between two looks at the space that is left. */
const CHECK_INTERVAL = 4 << 20;
/** Bytes that are left alone, or a fiftieth of a disk that is small. */
const MAX_RESERVE = 128 << 20;

export interface EntryWriterOptions {
  /** of everything, instead of what the entries say */
  readonly owner?: { readonly uid: number; readonly gid: number } | undefined;
  /** an ordinary user's namespace has no devices; containerd leaves them out there too */
  readonly skipDevices?: boolean;
  /** extended attributes that are left out begin with this */
  readonly skipXattrs?: string;
}

export class EntryWriter {
  readonly #options: EntryWriterOptions;
  #file: { fd: number; path: BytePath; entry: TarEntry } | undefined;
  readonly #folders = new Map<BytePath, TarEntry>();
  /** bytes since space was last looked at */
  #unchecked = 0;

  constructor(options: EntryWriterOptions) {
    this.#options = options;
  }

  /**
   * Makes `path`, where nothing is yet, or a folder if the entry is one.
   * @param linkTarget for hard links: the file to link to
   */
  create(path: BytePath, entry: TarEntry, linkTarget: () => BytePath): void {
    switch (entry.type) {
      case "dir":
        makeFolder(path);
        return this.deferFolder(path, entry);
      case "file":
        this.#file = { fd: openSync(fsPath(path), "wx", 0o600), path, entry };
        return;
      case "hardlink":
        linkSync(fsPath(linkTarget()), fsPath(path));
        break;
      case "symlink":
        symlinkSync(fsPath(entry.linkname), fsPath(path));
        break;
      case "char":
      case "block":
        if (this.#options.skipDevices) return;
        makeNode(path, (entry.type === "char" ? S_IFCHR : S_IFBLK) | 0o600, entry.devmajor, entry.devminor);
        break;
      case "fifo":
        makeNode(path, S_IFIFO | 0o600, 0, 0);
    }
    this.#setAttributes(path, entry);
  }

  /** A folder that is there gets the entry's attributes at the end. */
  deferFolder(path: BytePath, entry: TarEntry): void {
    this.#folders.set(path, entry);
  }

  /** Content of the file that was created last. */
  data(chunk: Buffer): void {
    if (!this.#file) return;
    this.#unchecked += chunk.length;
    if (this.#unchecked > CHECK_INTERVAL) this.#checkSpace(this.#file.path);
    for (let at = 0; at < chunk.length;) at += writeSync(this.#file.fd, chunk, at);
  }

  /** A small archive can fill a disk; the state's database and other builds need some of it. @throws BuildError DISK_FULL */
  #checkSpace(path: BytePath): void {
    this.#unchecked = 0;
    const { bavail, bsize, blocks } = statfsSync(fsPath(path));
    if (bavail * bsize >= CHECK_INTERVAL + Math.min(MAX_RESERVE, (blocks * bsize) / 50)) return;
    throw new BuildError("DISK_FULL", `no space left on device: ${textOf(path)} would fill it`);
  }

  /** The content is complete. */
  end(): void {
    if (!this.#file) return;
    const { fd, path, entry } = this.#file;
    this.#file = undefined;
    const { uid, gid } = this.#options.owner ?? entry;
    // in this order: a new owner takes away setuid bits and capabilities
    fchownSync(fd, uid, gid);
    fchmodSync(fd, entry.mode);
    this.#setXattrs(path, entry);
    futimesSync(fd, entry.mtime, entry.mtime);
    closeSync(fd);
  }

  /** All entries are written. */
  finish(): void {
    for (const [path, entry] of [...this.#folders].reverse()) this.#setAttributes(path, entry);
  }

  #setAttributes(path: BytePath, entry: TarEntry): void {
    const { uid, gid } = this.#options.owner ?? entry;
    lchownSync(fsPath(path), uid, gid);
    if (entry.type !== "symlink") chmodSync(fsPath(path), entry.mode);
    this.#setXattrs(path, entry);
    const time = BigInt(entry.mtime) * 1_000_000_000n;
    setTimes(path, { atime: time, mtime: time });
  }

  #setXattrs(path: BytePath, { xattrs }: TarEntry): void {
    const { skipXattrs } = this.#options;
    for (const [name, value] of xattrs)
      if (skipXattrs === undefined || !name.startsWith(skipXattrs)) setXattr(path, name, value);
  }
}

function makeFolder(path: BytePath): void {
  try {
    mkdirSync(fsPath(path), 0o755);
  } catch (error) {
    if (codeOf(error) !== "EEXIST") throw error;
  }
}
