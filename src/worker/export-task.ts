// A result as a folder or a tar file.
import { closeSync, mkdirSync, openSync, readSync, writeSync, type BigIntStats } from "node:fs";
import {
  join,
  listNames,
  lstat,
  padding,
  readLink,
  tarHeader,
  tarTrailer,
  type EntryType,
} from "../layer/index.js";
import { codeOf } from "../lib/index.js";
import { bytePath, deviceNumbers, fsPath, getXattr, textOf, type BytePath } from "../linux/index.js";
import { copyTree } from "./copy.js";
import type { Mounts } from "./mounts.js";
import type { ExportTask } from "./types.js";

export function runExportTask(task: ExportTask, mounts: Mounts): undefined {
  const root = mounts.view(task.tree);
  if (task.format === "folder") {
    mkdirSync(task.target, { recursive: true });
    // all at once: entries that are one file stay one
    copyTree("/", "/", {
      sourceRoot: root,
      targetRoot: bytePath(task.target),
      owner: undefined,
      mode: undefined,
      time: task.time === undefined ? undefined : BigInt(task.time) * 1_000_000_000n,
      contentsOnly: true,
      linkRoot: task.linkRoot === undefined ? undefined : bytePath(task.linkRoot),
      followLinks: false,
      includePatterns: [],
      excludePatterns: [],
    });
    return undefined;
  }
  const fd = task.target === "-" ? 1 : openSync(task.target, "w");
  try {
    new TarExport(root, fd, task.time).run();
  } finally {
    if (fd !== 1) closeSync(fd);
  }
  return undefined;
}

/** Nothing ever changes it: waiting on it is sleeping. */
const PAUSE = new Int32Array(new SharedArrayBuffer(4));

/** Bytes that are written at once. */
const ROOM = 1 << 20;
const ZEROS = Buffer.alloc(512);

class TarExport {
  readonly #root: BytePath;
  readonly #fd: number;
  readonly #time: number | undefined;
  readonly #inodes = new Map<bigint, BytePath>();
  /** what is to be written, as far as `#length` */
  readonly #room = Buffer.allocUnsafeSlow(ROOM);
  #length = 0;

  constructor(root: BytePath, fd: number, time: number | undefined) {
    this.#root = root;
    this.#fd = fd;
    this.#time = time;
  }

  run(): void {
    this.#folder("");
    this.#write(tarTrailer());
    this.#flush();
  }

  #folder(relative: BytePath): void {
    for (const name of listNames(relative === "" ? this.#root : join(this.#root, relative))) {
      const path = relative === "" ? name : `${relative}/${name}`;
      const full = join(this.#root, path);
      const stat = lstat(full);
      if (stat.isSocket()) continue;
      this.#entry(path, full, stat);
      if (stat.isDirectory()) this.#folder(path);
    }
  }

  #entry(path: BytePath, full: BytePath, stat: BigIntStats): void {
    const link = stat.isFile() && stat.nlink > 1n ? this.#inodes.get(stat.ino) : undefined;
    if (stat.isFile() && stat.nlink > 1n && link === undefined) this.#inodes.set(stat.ino, path);
    const type: EntryType = link !== undefined ? "hardlink" : kindOf(stat);
    const size = type === "file" ? Number(stat.size) : 0;
    const device = type === "char" || type === "block" ? deviceNumbers(stat.rdev) : { major: 0, minor: 0 };
    const capability = getXattr(full, "security.capability");
    const mtime = Number(stat.mtimeNs / 1_000_000_000n);
    this.#write(
      tarHeader({
        name: stat.isDirectory() ? `${path}/` : path,
        type,
        mode: Number(stat.mode & 0o7777n),
        uid: Number(stat.uid),
        gid: Number(stat.gid),
        size,
        mtime: this.#time ?? mtime,
        linkname: link ?? (type === "symlink" ? readLink(full) : ""),
        devmajor: device.major,
        devminor: device.minor,
        xattrs: new Map(capability ? [["security.capability", capability]] : []),
      }),
    );
    if (size > 0) this.#content(full, size);
  }

  #content(full: BytePath, size: number): void {
    const fd = openSync(fsPath(full), "r");
    try {
      for (let left = size; left > 0;) {
        if (this.#length === ROOM) this.#flush();
        const count = readSync(fd, this.#room, this.#length, Math.min(left, ROOM - this.#length), null);
        if (count === 0) throw new Error(`${textOf(full)} is shorter than it was`);
        this.#length += count;
        left -= count;
      }
    } finally {
      closeSync(fd);
    }
    this.#write(ZEROS.subarray(0, padding(size)));
  }

  #write(bytes: Buffer): void {
    if (bytes.length > ROOM - this.#length) this.#flush();
    this.#length += bytes.copy(this.#room, this.#length);
  }

  #flush(): void {
    for (let at = 0; at < this.#length;) {
      try {
        at += writeSync(this.#fd, this.#room, at, this.#length - at);
      } catch (error) {
        // standard output may be a pipe whose reader is slow
        if (codeOf(error) !== "EAGAIN") throw error;
        Atomics.wait(PAUSE, 0, 0, 2);
      }
    }
    this.#length = 0;
  }
}

function kindOf(stat: BigIntStats): EntryType {
  if (stat.isDirectory()) return "dir";
  if (stat.isSymbolicLink()) return "symlink";
  if (stat.isCharacterDevice()) return "char";
  if (stat.isBlockDevice()) return "block";
  return stat.isFIFO() ? "fifo" : "file";
}
