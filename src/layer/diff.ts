// A tree's changes as a layer: what an overlay's upper folder says, written as tar, compressed and hashed on the way.
// Order, parents, whiteouts and hard links are those of containerd's and BuildKit's overlay differ.
import { closeSync, openSync, readSync } from "node:fs";
import type { BigIntStats } from "node:fs";
import { deviceNumbers, fsPath, getXattr, type BytePath } from "../linux/index.js";
import { packLayer, type PackOptions } from "./packer.js";
import { sameContent } from "./same-content.js";
import { padding, tarHeader, tarTrailer } from "./tar-writer.js";
import { join, listNames, lstat, lstatMaybe, readLink } from "./tree.js";
import type { EntryType, LayerBlob, TarEntry } from "./types.js";

const READ_SIZE = 1 << 20;

export interface DiffOptions extends PackOptions {
  /** the folder with the changes; its whiteouts are overlayfs's */
  readonly upper: BytePath;
  /** what the changes were made to; `undefined` if nothing */
  readonly lower: BytePath | undefined;
  /** no time is later than this (seconds); for rewrite-timestamp */
  readonly clampTime?: number | undefined;
}

/** Writes the layer to `file`. @throws the signal's reason */
export function writeLayer(file: string, options: DiffOptions, signal: AbortSignal): Promise<LayerBlob> {
  return packLayer(file, options, (write) => new Differ(options, write).run(), signal);
}

class Differ {
  readonly #options: DiffOptions;
  readonly #out: (chunk: Buffer) => Promise<void>;
  readonly #buffer = Buffer.allocUnsafeSlow(READ_SIZE);
  /** inode -> first name written */
  readonly #inodes = new Map<bigint, BytePath>();
  readonly #written = new Set<BytePath>();

  constructor(options: DiffOptions, out: (chunk: Buffer) => Promise<void>) {
    this.#options = options;
    this.#out = out;
  }

  async run(): Promise<void> {
    await this.#folder("", false);
    await this.#out(tarTrailer());
  }

  /** @param opaque the lower folder of this name is hidden: what it had and we have not is gone */
  async #folder(name: BytePath, opaque: boolean): Promise<void> {
    const { upper, lower } = this.#options;
    const lowerPath = lower === undefined ? undefined : name === "" ? lower : join(lower, name);
    const names = new Set(listNames(name === "" ? upper : join(upper, name)));
    const all = new Set(names);
    if (opaque && lowerPath !== undefined && lstatMaybe(lowerPath)?.isDirectory()) {
      for (const child of listNames(lowerPath)) all.add(child);
    }
    for (const child of [...all].sort()) {
      const path = name === "" ? child : `${name}/${child}`;
      if (names.has(child)) await this.#entry(path);
      else await this.#whiteout(path);
    }
  }

  async #entry(name: BytePath): Promise<void> {
    const { upper, lower } = this.#options;
    const path = join(upper, name);
    const stat = lstat(path);
    if (isWhiteout(stat)) return this.#whiteout(name);
    if (stat.isSocket()) return;
    const lowerPath = lower === undefined ? undefined : join(lower, name);
    const old = lowerPath === undefined ? undefined : lstatMaybe(lowerPath);
    const opaque = stat.isDirectory() && isOpaque(path);
    const unchanged = old !== undefined && sameEntry(path, stat, lowerPath!, old);
    if (!stat.isDirectory()) {
      if (stat.nlink > 1n && stat.isFile()) return this.#linked(name, path, stat, unchanged);
      if (!unchanged) await this.#write(name, path, stat, undefined);
      return;
    }
    if (!unchanged) await this.#write(name, path, stat, undefined);
    await this.#folder(name, opaque);
  }

  async #linked(name: BytePath, path: BytePath, stat: BigIntStats, unchanged: boolean): Promise<void> {
    if (unchanged) return;
    const source = this.#inodes.get(stat.ino);
    if (source !== undefined) return this.#write(name, path, stat, source);
    this.#inodes.set(stat.ino, name);
    await this.#write(name, path, stat, undefined);
  }

  async #whiteout(name: BytePath): Promise<void> {
    const { lower } = this.#options;
    // what was there is gone; a layer that stands on nothing is what differs between two results, and says it all
    if (lower !== undefined && !lstatMaybe(join(lower, name))) return;
    await this.#parents(name);
    const slash = name.lastIndexOf("/");
    const hidden = `${name.slice(0, slash + 1)}.wh.${name.slice(slash + 1)}`;
    await this.#out(tarHeader(plainEntry(hidden)));
  }

  /** Unchanged folders come before their first changed child. */
  async #parents(name: BytePath): Promise<void> {
    const parts = name.split("/").slice(0, -1);
    for (let i = 1; i <= parts.length; i++) {
      const parent = parts.slice(0, i).join("/");
      if (this.#written.has(parent)) continue;
      const path = join(this.#options.upper, parent);
      await this.#writeEntry(parent, path, lstat(path), undefined);
    }
  }

  async #write(name: BytePath, path: BytePath, stat: BigIntStats, link: BytePath | undefined): Promise<void> {
    await this.#parents(name);
    await this.#writeEntry(name, path, stat, link);
  }

  async #writeEntry(
    name: BytePath,
    path: BytePath,
    stat: BigIntStats,
    link: BytePath | undefined,
  ): Promise<void> {
    if (stat.isDirectory()) this.#written.add(name);
    const type = link === undefined ? typeOf(stat) : "hardlink";
    const size = type === "file" ? Number(stat.size) : 0;
    const device =
      stat.isCharacterDevice() || stat.isBlockDevice() ? deviceNumbers(stat.rdev) : { major: 0, minor: 0 };
    const capability = getXattr(path, "security.capability");
    const mtime = Number(
      stat.mtimeNs >= 0n ? stat.mtimeNs / 1_000_000_000n : (stat.mtimeNs - 999_999_999n) / 1_000_000_000n,
    );
    const { clampTime } = this.#options;
    await this.#out(
      tarHeader({
        name: stat.isDirectory() ? `${name}/` : name,
        type,
        mode: Number(stat.mode & 0o7777n),
        uid: Number(stat.uid),
        gid: Number(stat.gid),
        size,
        mtime: clampTime !== undefined && mtime > clampTime ? clampTime : mtime,
        linkname: link ?? (stat.isSymbolicLink() ? readLink(path) : ""),
        devmajor: device.major,
        devminor: device.minor,
        xattrs: new Map(capability ? [["security.capability", capability]] : []),
      }),
    );
    if (type === "file" && size > 0) await this.#content(path, size);
  }

  async #content(path: BytePath, size: number): Promise<void> {
    const fd = openSync(fsPath(path), "r");
    try {
      for (let left = size; left > 0;) {
        const count = readSync(fd, this.#buffer, 0, Math.min(left, READ_SIZE), null);
        if (count === 0) throw new Error(`${path} became shorter while it was read`);
        left -= count;
        await this.#out(this.#buffer.subarray(0, count));
      }
    } finally {
      closeSync(fd);
    }
    const rest = padding(size);
    if (rest > 0) await this.#out(Buffer.alloc(rest));
  }
}

function plainEntry(name: BytePath): TarEntry {
  return {
    name,
    type: "file",
    mode: 0,
    uid: 0,
    gid: 0,
    size: 0,
    mtime: 0,
    linkname: "",
    devmajor: 0,
    devminor: 0,
    xattrs: new Map(),
  };
}

function typeOf(stat: BigIntStats): EntryType {
  if (stat.isDirectory()) return "dir";
  if (stat.isSymbolicLink()) return "symlink";
  if (stat.isCharacterDevice()) return "char";
  if (stat.isBlockDevice()) return "block";
  if (stat.isFIFO()) return "fifo";
  return "file";
}

export function isOpaque(path: BytePath): boolean {
  return ["trusted.overlay.opaque", "user.overlay.opaque"].some(
    (name) => getXattr(path, name)?.toString() === "y",
  );
}

/** How overlayfs says that something is gone. */
export function isWhiteout(stat: BigIntStats): boolean {
  return stat.isCharacterDevice() && stat.rdev === 0n;
}

/**
 * Nothing that a layer records differs; folders: without their times. BuildKit reads files only where their times are in
 * whole seconds. Times that are equal are no proof in either case, and rare enough to look.
 */
export function sameEntry(path: BytePath, a: BigIntStats, lowerPath: BytePath, b: BigIntStats): boolean {
  if (a.mode !== b.mode || a.uid !== b.uid || a.gid !== b.gid || a.rdev !== b.rdev) return false;
  const capability = (p: BytePath): string | undefined =>
    getXattr(p, "security.capability")?.toString("latin1");
  if (capability(path) !== capability(lowerPath)) return false;
  if (a.isDirectory()) return true;
  if (a.size !== b.size || a.mtimeNs !== b.mtimeNs) return false;
  if (a.isSymbolicLink()) return readLink(path) === readLink(lowerPath);
  return !a.isFile() || a.size === 0n || (a.dev === b.dev && a.ino === b.ino) || sameContent(path, lowerPath);
}
