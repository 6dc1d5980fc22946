// A folder that the other side sends, taken in: a client's context, a daemon's local output. Nothing it sends can lead out of the folder: every entry's parent has to be a
// folder that came before it in the same transfer.
import {
  chmodSync,
  chownSync,
  closeSync,
  lchownSync,
  linkSync,
  mkdirSync,
  openSync,
  rmSync,
  symlinkSync,
  writeSync,
} from "node:fs";
import { codeOf, BuildError } from "../../lib/index.js";
import { FolderComparison, FolderListing, lstatMaybe, type FolderEntry } from "../../layer/index.js";
import { fsPath, makeNode, setTimes, setXattr, type BytePath } from "../../linux/index.js";
import type { Moved } from "../../progress/index.js";
import type { BidiStream } from "../grpc.js";
import { METADATA_FILE, MetadataFile } from "./metadata-file.js";
import { decodePacket, encodePacket, has, MODE, PACKET, unixMode, type Stat } from "./wire.js";

/** Entries of one folder: what protects memory from a client that never ends. */
const MAX_ENTRIES = 10_000_000;

interface OpenFile {
  readonly stat: Stat;
  fd: number | undefined;
  written: number;
}

export interface ReceiveOptions {
  /** told of bytes, those that tell of entries included */
  readonly moved: Moved;
  /** The folder has something already: what comes takes the place of what has its name, and belongs to this process. */
  readonly merges?: boolean;
  /** A folder whose files are taken instead of asking for those that are the same, and what it was told to be. */
  readonly previous?: { readonly folder: BytePath; readonly listing: FolderListing | undefined } | undefined;
  /** File for what the folder is told to be. */
  readonly listing?: string | undefined;
  /** Only files that match are asked for; what all entries are is written to METADATA_FILE. */
  readonly metadataExcept?: readonly string[] | undefined;
}

/**
 * @param target an empty folder, unless `merges` says otherwise
 * @returns whether the folder is as `previous` is; then nothing was put into `target`
 * @throws BuildError CONTEXT_INVALID, ConnectError with what the other side says
 */
export async function receiveFolder(
  call: BidiStream,
  target: BytePath,
  options: ReceiveOptions,
): Promise<boolean> {
  const receiver = new Receiver(call, target, options);
  try {
    await call.read((message) => receiver.take(message));
    return receiver.finish();
  } catch (error) {
    call.cancel();
    throw receiver.error ?? error;
  } finally {
    receiver.close();
  }
}

class Receiver {
  /** what the client says went wrong */
  error: Error | undefined;
  readonly #call: BidiStream;
  readonly #target: BytePath;
  readonly #moved: Moved;
  readonly #merges: boolean;
  readonly #previous: BytePath | undefined;
  readonly #comparison: FolderComparison | undefined;
  /** all entries so far, as long as each is as it was */
  #unchanged: Stat[] | undefined;
  readonly #listing = new FolderListing();
  readonly #file: string | undefined;
  readonly #folders = new Map<BytePath, Stat>();
  /** entries that are no folders */
  readonly #others = new Set<BytePath>();
  /** entries that are only told of */
  readonly #untaken = new Set<BytePath>();
  /** folders that have been made */
  readonly #made = new Set<BytePath>();
  readonly #metadata: MetadataFile | undefined;
  readonly #links: Stat[] = [];
  readonly #wanted = new Map<number, OpenFile>();
  #count = 0;
  #hasAll = false;
  #isFinished = false;

  constructor(call: BidiStream, target: BytePath, options: ReceiveOptions) {
    const { moved, merges = false, previous, listing, metadataExcept } = options;
    this.#file = listing;
    this.#previous = previous?.folder;
    this.#comparison = previous?.listing && new FolderComparison(previous.listing);
    if (this.#comparison && !metadataExcept) this.#unchanged = [];
    this.#metadata = metadataExcept && new MetadataFile(metadataExcept);
    this.#moved = moved;
    this.#merges = merges;
    this.#call = call;
    this.#target = target;
  }

  async take(message: Buffer): Promise<void> {
    const { type, stat, id, data } = decodePacket(message);
    this.#moved(message.length);
    switch (type) {
      case PACKET.STAT:
        if (stat) await this.#told(stat, this.#count++);
        else await this.#toldAll();
        break;
      case PACKET.DATA:
        this.#data(id, data);
        break;
      case PACKET.ERR:
        this.error = new BuildError("CONTEXT_UNREADABLE", `error from sender: ${data.toString()}`);
        throw this.error;
      case PACKET.FIN:
        this.#call.end();
        return;
    }
    if (!this.#hasAll || this.#wanted.size > 0 || this.#isFinished) return;
    this.#isFinished = true;
    await this.#call.send(encodePacket({ type: PACKET.FIN }));
  }

  async #told(stat: Stat, id: number): Promise<void> {
    if (id > MAX_ENTRIES) throw invalid(`more than ${MAX_ENTRIES} entries`);
    const isSame = this.#comparison?.matches(entryOf(stat)) ?? false;
    if (isSame && this.#unchanged) {
      this.#unchanged.push(stat);
      return;
    }
    await this.#takeUnchanged();
    await this.#entry(stat, id, isSame);
  }

  async #toldAll(): Promise<void> {
    if (this.#unchanged && !this.#comparison!.isComplete()) await this.#takeUnchanged();
    this.#hasAll = true;
  }

  /** Something is different: the folder is made after all. */
  async #takeUnchanged(): Promise<void> {
    const entries = this.#unchanged ?? [];
    this.#unchanged = undefined;
    for (const [id, stat] of entries.entries()) await this.#entry(stat, id, true);
  }

  /** @param isSame as in the last transfer */
  async #entry(stat: Stat, id: number, isSame: boolean): Promise<void> {
    const { path, mode } = stat;
    this.#check(path);
    if (this.#file !== undefined) this.#listing.add(entryOf(stat));
    if (this.#metadata) {
      this.#metadata.add(stat);
      if (!this.#metadata.isWhole(path)) {
        if (has(mode, MODE.DIR)) this.#folders.set(path, stat);
        else this.#untaken.add(path);
        return;
      }
      this.#makeFolders(parentOf(path));
    }
    const to = this.#path(path);
    const known = this.#merges ? lstatMaybe(to) : undefined;
    if (has(mode, MODE.DIR)) {
      if (known && !known.isDirectory()) rmSync(fsPath(to));
      if (!known?.isDirectory()) mkdirSync(fsPath(to), 0o755);
      this.#folders.set(path, stat);
      this.#made.add(path);
      return;
    }
    this.#others.add(path);
    if (known) rmSync(fsPath(to), { recursive: true });
    if (has(mode, MODE.SYMLINK)) {
      symlinkSync(Buffer.from(stat.linkname, "latin1"), fsPath(to));
      this.#attributes(stat);
    } else if (has(mode, MODE.SOCKET)) {
      return;
    } else if (has(mode, MODE.DEVICE) || has(mode, MODE.NAMED_PIPE)) {
      this.#node(stat, to);
    } else if (stat.linkname !== "") {
      // what it is the same as may come later
      this.#links.push(stat);
    } else if (stat.size === 0) {
      closeSync(openSync(fsPath(to), "wx", 0o600));
      this.#attributes(stat);
    } else if (!isSame || !this.#reuse(path, to)) {
      this.#wanted.set(id, { stat, fd: undefined, written: 0 });
      await this.#call.send(encodePacket({ type: PACKET.REQ, id }));
    }
  }

  /** Folders on the way to a file that is taken. */
  #makeFolders(path: BytePath): void {
    if (path === "" || this.#made.has(path)) return;
    this.#makeFolders(parentOf(path));
    mkdirSync(fsPath(this.#path(path)), 0o755);
    this.#made.add(path);
  }

  /** @throws BuildError CONTEXT_INVALID for a path that is not one below the folder, in its place */
  #check(path: BytePath): void {
    const parts = path.split("/");
    if (
      path === "" ||
      path.includes("\0") ||
      parts.some((part) => part === "" || part === "." || part === "..")
    )
      throw invalid(`path ${JSON.stringify(path)} is not relative and clean`);
    if (this.#metadata && path === METADATA_FILE) throw invalid(`${path} is the name of another file`);
    const parent = parentOf(path);
    if (parent !== "" && !this.#folders.has(parent))
      throw invalid(`${path} is not in a folder that was sent`);
    if (this.#folders.has(path) || this.#others.has(path) || this.#untaken.has(path))
      throw invalid(`${path} was sent twice`);
  }

  /** Links to the file of the last transfer: layers don't change. */
  #reuse(path: BytePath, to: BytePath): boolean {
    try {
      linkSync(fsPath(`${this.#previous}/${path}`), fsPath(to));
      return true;
    } catch {
      // it is gone meanwhile, or has as many names as a file may have
      return false;
    }
  }

  #node(stat: Stat, to: BytePath): void {
    const type = has(stat.mode, MODE.NAMED_PIPE)
      ? 0o010000
      : has(stat.mode, MODE.CHAR_DEVICE)
        ? 0o020000
        : 0o060000;
    try {
      makeNode(to, type | 0o600, stat.devmajor, stat.devminor);
      this.#attributes(stat);
    } catch (error) {
      // an ordinary user makes no devices
      if (codeOf(error) !== "EPERM") throw error;
    }
  }

  #data(id: number, data: Buffer): void {
    const file = this.#wanted.get(id);
    if (!file) throw invalid(`data of an entry ${id} that was not asked for`);
    file.fd ??= openSync(fsPath(this.#path(file.stat.path)), "wx", 0o600);
    if (data.length > 0) {
      for (let at = 0; at < data.length;) at += writeSync(file.fd, data, at);
      file.written += data.length;
      return;
    }
    closeSync(file.fd);
    this.#wanted.delete(id);
    this.#attributes(file.stat);
  }

  /** What has to wait for everything else: links, and the times of folders. @returns whether all is as it was */
  finish(): boolean {
    if (!this.#isFinished) throw invalid("the transfer ended too early");
    if (this.#unchanged) return true;
    for (const stat of this.#links) {
      if (!this.#others.has(stat.linkname))
        throw invalid(`${stat.path} links to ${stat.linkname}, which was not sent`);
      linkSync(fsPath(this.#path(stat.linkname)), fsPath(this.#path(stat.path)));
    }
    for (const stat of [...this.#folders.values()].reverse())
      if (this.#made.has(stat.path)) this.#attributes(stat);
    this.#metadata?.write(this.#target);
    if (this.#file !== undefined) this.#listing.write(this.#file);
    return false;
  }

  #attributes(stat: Stat): void {
    const to = this.#path(stat.path);
    const isLink = has(stat.mode, MODE.SYMLINK);
    for (const [name, value] of stat.xattrs) {
      try {
        setXattr(to, name, value);
      } catch {
        // not every file system takes every name
      }
    }
    if (!this.#merges && (stat.uid !== 0 || stat.gid !== 0))
      (isLink ? lchownSync : chownSync)(fsPath(to), stat.uid, stat.gid);
    if (!isLink) chmodSync(fsPath(to), unixMode(stat.mode));
    setTimes(to, { atime: stat.modTime, mtime: stat.modTime });
  }

  #path(path: BytePath): BytePath {
    return `${this.#target}/${path}`;
  }

  close(): void {
    for (const { fd } of this.#wanted.values()) if (fd !== undefined) closeSync(fd);
  }
}

function entryOf({ path, mode, uid, gid, size, modTime: mtime, linkname, xattrs }: Stat): FolderEntry {
  const type = has(mode, MODE.DIR)
    ? "dir"
    : has(mode, MODE.SYMLINK)
      ? "symlink"
      : [MODE.DEVICE, MODE.NAMED_PIPE, MODE.SOCKET].some((kind) => has(mode, kind))
        ? "other"
        : linkname === ""
          ? "file"
          : "hardlink";
  return { path, type, mode: unixMode(mode), uid, gid, size, mtime, linkname, hasXattrs: xattrs.size > 0 };
}

function parentOf(path: BytePath): BytePath {
  return path.includes("/") ? path.slice(0, path.lastIndexOf("/")) : "";
}

function invalid(problem: string): BuildError {
  return new BuildError("CONTEXT_INVALID", `invalid transfer from client: ${problem}`);
}
