// eStargz: a gzip layer whose files are gzip members of their own, so that a snapshotter can fetch one without the
// rest, with an index (TOC) as last entry. Source of the format: stargz-snapshotter, docs/estargz.md.
import { createHash, type Hash } from "node:crypto";
import { gzip } from "node:zlib";
import { promisify } from "node:util";
import { goJson, type GoValue } from "../lib/index.js";
import type { Packer, PackOutput } from "./packer.js";
import { TarParser } from "./tar-parser.js";
import { padding, tarHeader, tarTrailer } from "./tar-writer.js";
import type { EntryType, TarEntry } from "./types.js";

const CHUNK = 4 << 20;
const TOC_NAME = "stargz.index.json";
const TYPES: Readonly<Record<EntryType, string>> = {
  file: "reg",
  hardlink: "hardlink",
  symlink: "symlink",
  char: "char",
  block: "block",
  dir: "dir",
  fifo: "fifo",
};

const gzipAsync = promisify(gzip);

interface OpenFile {
  readonly entry: TarEntry;
  /** its first entry in the TOC */
  readonly first: Record<string, GoValue>;
  readonly hash: Hash;
  /** bytes before the chunk that is being collected */
  at: number;
}

export class EstargzPacker implements Packer {
  readonly #output: PackOutput;
  readonly #level: number;
  readonly #parser: TarParser;
  readonly #toc: GoValue[] = [];
  /** what has been parsed and not yet been written */
  readonly #parsed: (TarEntry | Buffer)[] = [];
  #offset = 0;
  #uncompressedSize = 0;
  /** bytes of the member that is being collected */
  #member: Buffer[] = [];
  /** the file whose content is being collected */
  #file: OpenFile | undefined;
  #chunk: Buffer[] = [];
  #chunkLength = 0;

  constructor(output: PackOutput, level = 9) {
    this.#output = output;
    this.#level = level;
    this.#parser = new TarParser({
      entry: (entry) => this.#parsed.push(entry),
      data: (chunk) => this.#parsed.push(chunk),
      end: () => undefined,
    });
  }

  async push(chunk: Buffer): Promise<void> {
    // pieces of it are kept until their member is complete
    this.#parser.push(Buffer.from(chunk));
    await this.#write();
  }

  async finish(): Promise<Readonly<Record<string, string>>> {
    this.#parser.finish();
    await this.#write();
    await this.#closeMember();
    const toc = Buffer.from(goJson({ version: 1, entries: this.#toc }));
    const tocOffset = this.#offset;
    this.#collect(tarHeader(tocHeader(toc.length)));
    this.#collect(toc);
    this.#collect(Buffer.alloc(padding(toc.length)));
    this.#collect(tarTrailer());
    await this.#closeMember();
    this.#emit(footer(tocOffset));
    return {
      "containerd.io/snapshot/stargz/toc.digest": `sha256:${createHash("sha256").update(toc).digest("hex")}`,
      "io.containers.estargz.uncompressed-size": String(this.#uncompressedSize),
    };
  }

  async #write(): Promise<void> {
    for (const item of this.#parsed.splice(0)) {
      if (Buffer.isBuffer(item)) await this.#content(item);
      else if (item.name !== TOC_NAME) await this.#entry(item);
    }
  }

  async #entry(entry: TarEntry): Promise<void> {
    this.#collect(tarHeader(entry));
    if (entry.type !== "file" || entry.size === 0) {
      this.#toc.push(tocEntry(entry));
      return;
    }
    await this.#closeMember();
    this.#file = { entry, first: tocEntry(entry), hash: createHash("sha256"), at: 0 };
  }

  async #content(data: Buffer): Promise<void> {
    for (let rest = data; rest.length > 0 && this.#file;) {
      const part = rest.subarray(0, CHUNK - this.#chunkLength);
      rest = rest.subarray(part.length);
      this.#file.hash.update(part);
      this.#chunk.push(part);
      this.#chunkLength += part.length;
      const isLast = this.#file.at + this.#chunkLength === this.#file.entry.size;
      if (isLast || this.#chunkLength === CHUNK) await this.#endChunk(isLast);
    }
  }

  /** Every chunk begins a member; after the last one come its padding and what follows it. */
  async #endChunk(isLast: boolean): Promise<void> {
    const { entry, hash, at } = this.#file!;
    const digest = createHash("sha256");
    for (const part of this.#chunk) digest.update(part);
    const { first } = this.#file!;
    const place = {
      offset: this.#offset,
      chunkOffset: at || undefined,
      chunkSize: entry.size > CHUNK ? this.#chunkLength : undefined,
      chunkDigest: `sha256:${digest.digest("hex")}`,
    };
    this.#toc.push(at === 0 ? Object.assign(first, place) : { name: first["name"], type: "chunk", ...place });
    for (const part of this.#chunk) this.#collect(part);
    this.#file!.at += this.#chunkLength;
    this.#chunk = [];
    this.#chunkLength = 0;
    if (!isLast) return this.#closeMember();
    this.#collect(Buffer.alloc(padding(entry.size)));
    this.#file!.first["digest"] = `sha256:${hash.digest("hex")}`;
    this.#file = undefined;
  }

  #collect(bytes: Buffer): void {
    if (bytes.length === 0) return;
    this.#output.uncompressed(bytes);
    this.#uncompressedSize += bytes.length;
    this.#member.push(bytes);
  }

  async #closeMember(): Promise<void> {
    if (this.#member.length === 0) return;
    const member = Buffer.concat(this.#member);
    this.#member = [];
    this.#emit(await gzipAsync(member, { level: this.#level }));
  }

  #emit(bytes: Buffer): void {
    this.#output.compressed(bytes);
    this.#offset += bytes.length;
  }
}

function tocHeader(size: number): TarEntry {
  return {
    name: TOC_NAME,
    type: "file",
    mode: 0,
    uid: 0,
    gid: 0,
    size,
    mtime: 0,
    linkname: "",
    devmajor: 0,
    devminor: 0,
    xattrs: new Map(),
  };
}

function tocEntry(entry: TarEntry): Record<string, GoValue> {
  const { name, type, size, mtime, linkname, mode, uid, gid, devmajor, devminor, xattrs } = entry;
  const text = (bytes: string): string => Buffer.from(bytes, "latin1").toString();
  return {
    name: text(name),
    type: TYPES[type],
    size: type === "file" && size > 0 ? size : undefined,
    modtime: mtime === 0 ? undefined : new Date(mtime * 1000).toISOString().replace(".000Z", "Z"),
    linkName: linkname === "" ? undefined : text(linkname),
    mode: mode || undefined,
    uid: uid || undefined,
    gid: gid || undefined,
    devMajor: devmajor || undefined,
    devMinor: devminor || undefined,
    xattrs:
      xattrs.size === 0
        ? undefined
        : Object.fromEntries([...xattrs].map(([key, value]) => [key, value.toString("base64")])),
  };
}

/** An empty gzip member whose extra field says where the TOC begins; always 51 bytes. */
function footer(tocOffset: number): Buffer {
  const text = `${tocOffset.toString(16).padStart(16, "0")}STARGZ`;
  const extra = Buffer.alloc(4 + text.length);
  extra.write("SG", 0, "latin1");
  extra.writeUInt16LE(text.length, 2);
  extra.write(text, 4, "latin1");
  const length = Buffer.alloc(2);
  length.writeUInt16LE(extra.length);
  return Buffer.concat([
    Buffer.from([0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff]),
    length,
    extra,
    Buffer.from([1, 0, 0, 0xff, 0xff]),
    Buffer.alloc(8),
  ]);
}
