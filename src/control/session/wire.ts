// The messages of a folder transfer (fsutil), read and written by hand: names are bytes, not always UTF-8, and every file
// passes through here. Names are kept one character a byte, as everywhere in this project (see linux/).
import { bytePath, type BytePath } from "../../linux/index.js";

export const PACKET = { STAT: 0, REQ: 1, DATA: 2, FIN: 3, ERR: 4 } as const;

/** Bits of Go's file mode. */
export const MODE = {
  DIR: 2 ** 31,
  SYMLINK: 2 ** 27,
  DEVICE: 2 ** 26,
  NAMED_PIPE: 2 ** 25,
  SOCKET: 2 ** 24,
  SETUID: 2 ** 23,
  SETGID: 2 ** 22,
  CHAR_DEVICE: 2 ** 21,
  STICKY: 2 ** 20,
} as const;

/** Types of files in a mode, and Go's bits for them. */
const TYPES: Readonly<Record<number, number>> = {
  0o040000: MODE.DIR,
  0o120000: MODE.SYMLINK,
  0o060000: MODE.DEVICE,
  0o020000: MODE.DEVICE + MODE.CHAR_DEVICE,
  0o010000: MODE.NAMED_PIPE,
  0o140000: MODE.SOCKET,
};

/** A mode as stat gives it, as Go has it. */
export function goMode(mode: number): number {
  return (
    (mode & 0o777) +
    (TYPES[mode & 0o170000] ?? 0) +
    (mode & 0o4000 ? MODE.SETUID : 0) +
    (mode & 0o2000 ? MODE.SETGID : 0) +
    (mode & 0o1000 ? MODE.STICKY : 0)
  );
}

export interface Stat {
  readonly path: BytePath;
  /** Go's bits: see MODE */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  /** nanoseconds since 1970 */
  readonly modTime: bigint;
  /** target of a symbolic link; of anything else the path of an entry that is the same file */
  readonly linkname: BytePath;
  readonly devmajor: number;
  readonly devminor: number;
  readonly xattrs: ReadonlyMap<string, Buffer>;
}

export interface Packet {
  readonly type: number;
  readonly stat: Stat | undefined;
  readonly id: number;
  readonly data: Buffer;
}

const NO_BYTES = Buffer.alloc(0);

/** Fields of a message, one after another. */
function* fields(data: Buffer): Generator<{ field: number; value: bigint; bytes: Buffer }> {
  let at = 0;
  const varint = (): bigint => {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < 7; i++) {
      const byte = data[at++];
      if (byte === undefined) throw new Error("message ends too early");
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return BigInt(value);
      scale *= 128;
    }
    let big = BigInt(value);
    for (let shift = 49n; ; shift += 7n) {
      const byte = data[at++];
      if (byte === undefined || shift > 63n) throw new Error("message ends too early");
      big += BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asIntN(64, big);
    }
  };
  while (at < data.length) {
    const tag = Number(varint());
    const field = tag >>> 3;
    if ((tag & 7) === 0) yield { field, value: varint(), bytes: NO_BYTES };
    else if ((tag & 7) === 2) {
      const length = Number(varint());
      if (length < 0 || at + length > data.length) throw new Error("message ends too early");
      yield { field, value: 0n, bytes: data.subarray(at, at + length) };
      at += length;
    } else throw new Error(`message has a field of an unknown kind ${tag & 7}`);
  }
}

const text = (bytes: Buffer): BytePath => bytes.toString("latin1");

export function decodePacket(message: Buffer): Packet {
  let [type, id] = [0, 0];
  let stat: Stat | undefined;
  let data: Buffer = NO_BYTES;
  for (const { field, value, bytes } of fields(message)) {
    if (field === 1) type = Number(value);
    else if (field === 2) stat = decodeStat(bytes);
    else if (field === 3) id = Number(value);
    else if (field === 4) data = bytes;
  }
  return { type, stat, id, data };
}

function decodeStat(message: Buffer): Stat {
  const numbers: Record<number, bigint> = {};
  let [path, linkname] = ["" as BytePath, "" as BytePath];
  const xattrs = new Map<string, Buffer>();
  for (const { field, value, bytes } of fields(message)) {
    if (field === 1) path = text(bytes);
    else if (field === 7) linkname = text(bytes);
    else if (field === 10) {
      let key = "";
      let content: Buffer = NO_BYTES;
      for (const part of fields(bytes)) {
        if (part.field === 1) key = part.bytes.toString();
        else if (part.field === 2) content = part.bytes;
      }
      xattrs.set(key, content);
    } else numbers[field] = value;
  }
  const number = (field: number): number => Number(numbers[field] ?? 0n);
  return {
    path,
    mode: number(2),
    uid: number(3),
    gid: number(4),
    size: number(5),
    modTime: numbers[6] ?? 0n,
    linkname,
    devmajor: number(8),
    devminor: number(9),
    xattrs,
  };
}

class Message {
  #out = Buffer.allocUnsafe(256);
  #length = 0;

  int(field: number, value: number | bigint): this {
    if (Number(value) === 0) return this;
    this.#reserve(20);
    this.#varint(field << 3);
    if (typeof value === "number" && value > 0) {
      this.#varint(value);
      return this;
    }
    // in two parts that numbers hold
    const bits = BigInt.asUintN(64, BigInt(value));
    let low = Number(bits & 0xfffffffn);
    const high = Number(bits >> 28n);
    if (high > 0) for (let i = 0; i < 4; i++, low >>>= 7) this.#out[this.#length++] = (low & 0x7f) | 0x80;
    this.#varint(high > 0 ? high : low);
    return this;
  }

  bytes(field: number, value: Buffer, evenEmpty = false): this {
    if (value.length === 0 && !evenEmpty) return this;
    this.#reserve(20 + value.length);
    this.#varint((field << 3) | 2);
    this.#varint(value.length);
    this.#out.set(value, this.#length);
    this.#length += value.length;
    return this;
  }

  finish(): Buffer {
    return this.#out.subarray(0, this.#length);
  }

  #varint(value: number): void {
    let rest = value;
    for (; rest > 0x7f; rest = Math.floor(rest / 0x80)) this.#out[this.#length++] = (rest % 0x80) | 0x80;
    this.#out[this.#length++] = rest;
  }

  #reserve(count: number): void {
    if (this.#length + count <= this.#out.length) return;
    const larger = Buffer.allocUnsafe(2 * this.#length + count);
    this.#out.copy(larger, 0, 0, this.#length);
    this.#out = larger;
  }
}

export function encodePacket(packet: {
  readonly type: number;
  readonly stat?: Stat;
  readonly id?: number;
  readonly data?: Buffer;
}): Buffer {
  const message = new Message().int(1, packet.type);
  if (packet.stat) message.bytes(2, encodeStat(packet.stat), true);
  return message
    .int(3, packet.id ?? 0)
    .bytes(4, packet.data ?? NO_BYTES)
    .finish();
}

export function encodeStat(stat: Stat): Buffer {
  const raw = (path: BytePath): Buffer => Buffer.from(path, "latin1");
  const message = new Message()
    .bytes(1, raw(stat.path))
    .int(2, stat.mode)
    .int(3, stat.uid)
    .int(4, stat.gid)
    .int(5, stat.size)
    .int(6, stat.modTime)
    .bytes(7, raw(stat.linkname))
    .int(8, stat.devmajor)
    .int(9, stat.devminor);
  for (const [key, value] of stat.xattrs)
    message.bytes(10, new Message().bytes(1, Buffer.from(key)).bytes(2, value).finish());
  return message.finish();
}

/** Whether a mode has a bit; bits are beyond what numbers can be shifted. */
export function has(mode: number, bit: number): boolean {
  return Math.floor(mode / bit) % 2 === 1;
}

/** Permissions as chmod takes them. */
export function unixMode(mode: number): number {
  return (
    (mode % 0o1000) +
    (has(mode, MODE.SETUID) ? 0o4000 : 0) +
    (has(mode, MODE.SETGID) ? 0o2000 : 0) +
    (has(mode, MODE.STICKY) ? 0o1000 : 0)
  );
}

export { bytePath };
