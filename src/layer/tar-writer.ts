// Tar headers as Go's archive/tar writes them: USTAR where the values fit, PAX records where they do not.
import type { TarEntry } from "./types.js";

const BLOCK = 512;
const TYPE_FLAGS = {
  file: "0",
  hardlink: "1",
  symlink: "2",
  char: "3",
  block: "4",
  dir: "5",
  fifo: "6",
} as const;
const MAX_OCTAL_8 = 0o7777777;
const MAX_OCTAL_12 = 0o77777777777;

/** The header blocks of an entry; its content and `padding` follow. */
export function tarHeader(entry: TarEntry): Buffer {
  const records = paxRecords(entry);
  if (records.length === 0) return ustar(entry, splitName(entry.name)!);
  const text = Buffer.from(records.join(""), "latin1");
  const slash = entry.name.lastIndexOf("/") + 1;
  const paxName = ascii(`${entry.name.slice(0, slash)}PaxHeaders.0/${entry.name.slice(slash)}`)
    .slice(0, 100)
    .replace(/\/+$/, "");
  const header = rawHeader({
    name: paxName,
    mode: 0,
    uid: 0,
    gid: 0,
    size: text.length,
    mtime: 0,
    flag: "x",
    linkname: "",
    prefix: "",
  });
  const short: TarEntry = {
    ...entry,
    name: ascii(entry.name),
    linkname: ascii(entry.linkname),
    uid: entry.uid > MAX_OCTAL_8 ? 0 : entry.uid,
    gid: entry.gid > MAX_OCTAL_8 ? 0 : entry.gid,
    size: entry.size > MAX_OCTAL_12 ? 0 : entry.size,
    mtime: fitsTime(entry.mtime) ? entry.mtime : 0,
  };
  return Buffer.concat([
    header,
    text,
    Buffer.alloc(padding(text.length)),
    ustar(short, { name: short.name.slice(0, 100), prefix: "" }),
  ]);
}

/** Zeros after `size` bytes of content. */
export function padding(size: number): number {
  return (BLOCK - (size % BLOCK)) % BLOCK;
}

/** What ends an archive. */
export function tarTrailer(): Buffer {
  return Buffer.alloc(2 * BLOCK);
}

function paxRecords(entry: TarEntry): string[] {
  const records: [string, string][] = [];
  if (!isAscii(entry.name) || splitName(entry.name) === undefined) records.push(["path", entry.name]);
  if (!isAscii(entry.linkname) || entry.linkname.length > 100) records.push(["linkpath", entry.linkname]);
  if (entry.uid > MAX_OCTAL_8) records.push(["uid", String(entry.uid)]);
  if (entry.gid > MAX_OCTAL_8) records.push(["gid", String(entry.gid)]);
  if (entry.size > MAX_OCTAL_12) records.push(["size", String(entry.size)]);
  if (!fitsTime(entry.mtime)) records.push(["mtime", String(entry.mtime)]);
  for (const [key, value] of entry.xattrs) records.push([`SCHILY.xattr.${key}`, value.toString("latin1")]);
  return records.sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, value]) => paxRecord(key, value));
}

function fitsTime(mtime: number): boolean {
  return mtime >= 0 && mtime <= MAX_OCTAL_12;
}

/** "LENGTH key=value\n", where the length counts itself. */
function paxRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  let length = rest.length + String(rest.length).length;
  length = rest.length + String(length).length;
  return `${length}${rest}`;
}

function isAscii(text: string): boolean {
  return /^[\0-\x7f]*$/.test(text);
}

function ascii(text: string): string {
  return text.replace(/[^\0-\x7f]/g, "");
}

/** The name in one piece, or cut at a slash into prefix and name; `undefined` if it fits neither way. */
function splitName(name: string): { name: string; prefix: string } | undefined {
  if (name.length <= 100) return { name, prefix: "" };
  let length = name.length;
  if (length > 156) length = 156;
  else if (name.endsWith("/")) length--;
  const at = name.lastIndexOf("/", length - 1);
  const rest = name.length - at - 1;
  if (at <= 0 || rest > 100 || rest === 0 || at > 155) return undefined;
  return { name: name.slice(at + 1), prefix: name.slice(0, at) };
}

function ustar(entry: TarEntry, split: { name: string; prefix: string }): Buffer {
  return rawHeader({
    ...entry,
    ...split,
    size: entry.type === "file" ? entry.size : 0,
    flag: TYPE_FLAGS[entry.type],
  });
}

interface RawHeader {
  readonly name: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly mtime: number;
  readonly flag: string;
  readonly linkname: string;
  /** left out in headers that only carry records */
  readonly devmajor?: number;
  readonly devminor?: number;
  readonly prefix: string;
}

function rawHeader(raw: RawHeader): Buffer {
  const block = Buffer.alloc(BLOCK);
  const octal = (value: number, offset: number, width: number): void => {
    block.write(value.toString(8).padStart(width - 1, "0"), offset, "latin1");
  };
  block.write(raw.name, 0, 100, "latin1");
  octal(raw.mode, 100, 8);
  octal(raw.uid, 108, 8);
  octal(raw.gid, 116, 8);
  octal(raw.size, 124, 12);
  octal(raw.mtime, 136, 12);
  block.write("        ", 148, "latin1");
  block.write(raw.flag, 156, "latin1");
  block.write(raw.linkname, 157, 100, "latin1");
  block.write("ustar\x0000", 257, "latin1");
  if (raw.devmajor !== undefined) octal(raw.devmajor, 329, 8);
  if (raw.devminor !== undefined) octal(raw.devminor, 337, 8);
  block.write(raw.prefix, 345, 155, "latin1");
  let sum = 0;
  for (const byte of block) sum += byte;
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return block;
}
