// A tar reader that is fed chunks and calls back synchronously: USTAR, PAX and GNU long names and numbers. It never
// keeps more than one header in memory; contents are handed on as they come.
import { BuildError } from "../lib/index.js";
import type { EntryType, TarEntry } from "./types.js";

export interface TarSink {
  entry(entry: TarEntry): void;
  data(chunk: Buffer): void;
  /** the content of the last entry is complete */
  end(): void;
}

const TYPES: Readonly<Record<string, EntryType>> = {
  "0": "file",
  "\0": "file",
  "7": "file",
  "1": "hardlink",
  "2": "symlink",
  "3": "char",
  "4": "block",
  "5": "dir",
  "6": "fifo",
};
const MAX_META = 16 << 20;

export class TarParser {
  readonly #sink: TarSink;
  #pending: Buffer = Buffer.alloc(0);
  #remaining = 0;
  #skip = 0;
  #collect: { flag: string; chunks: Buffer[] } | undefined;
  #pax = new Map<string, string>();
  #globalPax = new Map<string, string>();
  #longName: string | undefined;
  #longLink: string | undefined;
  #open = false;
  #zeroBlocks = 0;
  #sawHeader = false;

  constructor(sink: TarSink) {
    this.#sink = sink;
  }

  /** @throws BuildError LAYER_INVALID */
  push(chunk: Buffer): void {
    let data = this.#pending.length > 0 ? Buffer.concat([this.#pending, chunk]) : chunk;
    while (data.length > 0) {
      if (this.#remaining > 0) {
        const part = data.subarray(0, this.#remaining);
        if (this.#collect) this.#collect.chunks.push(Buffer.from(part));
        else if (this.#open) this.#sink.data(part);
        this.#remaining -= part.length;
        data = data.subarray(part.length);
        if (this.#remaining > 0) continue;
        this.#finish();
      } else if (this.#skip > 0) {
        const skipped = Math.min(this.#skip, data.length);
        this.#skip -= skipped;
        data = data.subarray(skipped);
      } else if (data.length < 512) {
        break;
      } else {
        this.#header(data.subarray(0, 512));
        data = data.subarray(512);
      }
    }
    this.#pending = Buffer.from(data);
  }

  /** @throws BuildError LAYER_INVALID if the archive stops in the middle */
  finish(): void {
    if (this.#remaining > 0 || (this.#pending.length > 0 && this.#zeroBlocks < 2))
      throw invalid("unexpected EOF");
  }

  /** whether anything that looks like a tar archive was seen */
  get sawHeader(): boolean {
    return this.#sawHeader;
  }

  #finish(): void {
    if (this.#collect) {
      const { flag, chunks } = this.#collect;
      const data = Buffer.concat(chunks);
      this.#collect = undefined;
      if (flag === "L") this.#longName = cut(data);
      else if (flag === "K") this.#longLink = cut(data);
      else
        for (const [key, value] of parsePax(data))
          (flag === "g" ? this.#globalPax : this.#pax).set(key, value);
    } else if (this.#open) {
      this.#open = false;
      this.#sink.end();
    }
  }

  #header(block: Buffer): void {
    if (block.every((byte) => byte === 0)) {
      this.#zeroBlocks++;
      return;
    }
    if (this.#zeroBlocks >= 2) return;
    let sum = 0;
    for (let i = 0; i < 512; i++) sum += i >= 148 && i < 156 ? 32 : block[i]!;
    if (sum !== number(block, 148, 8)) throw invalid("invalid tar header");
    this.#sawHeader = true;
    this.#zeroBlocks = 0;
    const flag = String.fromCharCode(block[156]!);
    const pax = (key: string): string | undefined => this.#pax.get(key) ?? this.#globalPax.get(key);
    const declared = number(block, 124, 12);
    const size = flag === "x" || flag === "g" ? declared : Number(pax("size") ?? declared);
    if (!Number.isSafeInteger(size) || size < 0) throw invalid("invalid size");
    this.#skip = (512 - (size % 512)) % 512;
    this.#remaining = size;
    if (flag === "x" || flag === "g" || flag === "L" || flag === "K") {
      if (size > MAX_META) throw invalid("header too large");
      this.#collect = { flag, chunks: [] };
      if (size === 0) this.#finish();
      return;
    }
    const type = TYPES[flag];
    if (type !== undefined) this.#entry(block, type, size, pax);
    this.#pax = new Map();
    this.#longName = undefined;
    this.#longLink = undefined;
    if (type !== undefined && type !== "file") {
      // links may declare a size but have no content
      this.#remaining = 0;
      this.#skip = 0;
    }
    if (this.#remaining === 0 && this.#open) this.#finish();
  }

  #entry(block: Buffer, type: EntryType, size: number, pax: (key: string) => string | undefined): void {
    const magic = block.toString("latin1", 257, 263);
    const prefix = magic === "ustar\0" ? cut(block.subarray(345, 500)) : "";
    const short = cut(block.subarray(0, 100));
    const name = pax("path") ?? this.#longName ?? (prefix === "" ? short : `${prefix}/${short}`);
    const xattrs = new Map<string, Buffer>();
    for (const [key, value] of this.#pax) {
      if (key.startsWith("SCHILY.xattr.")) xattrs.set(key.slice(13), Buffer.from(value, "latin1"));
    }
    const isDir = type === "dir" || (type === "file" && name.endsWith("/"));
    this.#open = true;
    this.#sink.entry({
      name,
      type: isDir ? "dir" : type,
      mode: number(block, 100, 8) & 0o7777,
      uid: Number(pax("uid") ?? number(block, 108, 8)),
      gid: Number(pax("gid") ?? number(block, 116, 8)),
      size: type === "file" ? size : 0,
      mtime: Math.floor(Number(pax("mtime") ?? number(block, 136, 12))),
      linkname: pax("linkpath") ?? this.#longLink ?? cut(block.subarray(157, 257)),
      devmajor: number(block, 329, 8),
      devminor: number(block, 337, 8),
      xattrs,
    });
  }
}

function cut(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return bytes.toString("latin1", 0, end < 0 ? bytes.length : end);
}

/** Octal text, or base 256 where the first bit is set. */
function number(block: Buffer, offset: number, width: number): number {
  const first = block[offset]!;
  if (first & 0x80) {
    let value = BigInt(first & 0x7f);
    if (first & 0x40) value -= 128n;
    for (let i = 1; i < width; i++) value = value * 256n + BigInt(block[offset + i]!);
    return Number(value);
  }
  const text = block.toString("latin1", offset, offset + width).replace(/[\0 ]+/g, "");
  if (text === "") return 0;
  if (!/^[0-7]+$/.test(text)) throw invalid("invalid tar header");
  return parseInt(text, 8);
}

function parsePax(data: Buffer): [string, string][] {
  const records: [string, string][] = [];
  let at = 0;
  while (at < data.length) {
    const space = data.indexOf(32, at);
    const length = space < 0 ? NaN : Number(data.toString("latin1", at, space));
    if (!Number.isInteger(length) || length <= 0 || at + length > data.length)
      throw invalid("invalid PAX record");
    const record = data.toString("latin1", space + 1, at + length - 1);
    const equals = record.indexOf("=");
    if (equals <= 0) throw invalid("invalid PAX record");
    records.push([record.slice(0, equals), record.slice(equals + 1)]);
    at += length;
  }
  return records;
}

function invalid(what: string): BuildError {
  return new BuildError("LAYER_INVALID", `archive/tar: ${what}`);
}
