// A protobuf writer that gives Go's bytes. Two rules differ from what JavaScript libraries do: fields of a oneof are
// written after all others, and map entries are sorted by the UTF-8 bytes of their key. The order of fields is up to
// the caller (see encode.ts); this file only knows the wire format (protobuf.dev/programming-guides/encoding).
import { compareBytes } from "../lib/index.js";

export class Writer {
  readonly #chunks: Buffer[] = [];

  finish(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  /** int32, int64, uint32, uint64, bool and enums; zero is left out. */
  int(field: number, value: number | bigint | boolean): this {
    const n = BigInt(value);
    if (n !== 0n) this.#push(varint(BigInt(field << 3)), varint(BigInt.asUintN(64, n)));
    return this;
  }

  /** A number inside a oneof: written even if it is zero. */
  oneofInt(field: number, value: number): this {
    this.#push(varint(BigInt(field << 3)), varint(BigInt.asUintN(64, BigInt(value))));
    return this;
  }

  string(field: number, value: string): this {
    return value === "" ? this : this.#bytes(field, Buffer.from(value));
  }

  bytes(field: number, value: Uint8Array): this {
    return value.length === 0 ? this : this.#bytes(field, Buffer.from(value));
  }

  strings(field: number, values: readonly string[]): this {
    for (const value of values) this.#bytes(field, Buffer.from(value));
    return this;
  }

  /** A message is written even if it is empty; `undefined` is left out. */
  message(field: number, value: Writer | undefined): this {
    return value === undefined ? this : this.#bytes(field, value.finish());
  }

  messages<T>(field: number, values: readonly T[], encode: (value: T) => Writer): this {
    for (const value of values) this.#bytes(field, encode(value).finish());
    return this;
  }

  /** map<string, V>, where `entry` writes the value as field 2. */
  map<V>(
    field: number,
    entries: Iterable<readonly [string, V]>,
    entry: (writer: Writer, value: V) => void,
  ): this {
    for (const [key, value] of [...entries].sort(([a], [b]) => compareBytes(a, b))) {
      const writer = new Writer();
      writer.#bytes(1, Buffer.from(key));
      entry(writer, value);
      this.#bytes(field, writer.finish());
    }
    return this;
  }

  #bytes(field: number, value: Buffer): this {
    this.#push(varint(BigInt((field << 3) | 2)), varint(BigInt(value.length)), value);
    return this;
  }

  /** The value of a map entry: written even where it is the default. */
  mapString(value: string): void {
    this.#bytes(2, Buffer.from(value));
  }

  mapBool(value: boolean): void {
    this.#push(Buffer.from([2 << 3, value ? 1 : 0]));
  }

  mapMessage(value: Writer): void {
    this.#bytes(2, value.finish());
  }

  #push(...chunks: Buffer[]): void {
    this.#chunks.push(...chunks);
  }
}

function varint(value: bigint): Buffer {
  const out: number[] = [];
  let rest = value;
  while (rest > 0x7fn) {
    out.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  out.push(Number(rest));
  return Buffer.from(out);
}
