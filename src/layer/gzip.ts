// One gzip member made of blocks that are compressed side by side on the zlib pool: each block is raw deflate with the
// last 32 KiB before it as dictionary, flushed to a byte boundary. Any gunzip reads it. Memory is bounded by the number
// of blocks in flight.
import { constants, crc32, deflateRaw, deflateRawSync } from "node:zlib";

const BLOCK = 1 << 20;
const WINDOW = 32 << 10;
const IN_FLIGHT = 6;
const HEADER = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]);
const PROBE = 12 << 10;

/** zlib level 1 to 9; 5 is close to the size of Go's default in less time. */
export class BlockGzip {
  readonly #write: (chunk: Buffer) => void;
  readonly #level: number;
  #parts: Buffer[] = [];
  #length = 0;
  #window: Buffer = Buffer.alloc(0);
  #crc = 0;
  #size = 0;
  readonly #queue: Promise<Buffer>[] = [];

  constructor(write: (chunk: Buffer) => void, level = 5) {
    this.#write = write;
    this.#level = level;
    write(HEADER);
  }

  /** Takes `chunk` over: it must not be changed afterwards. */
  async push(chunk: Buffer): Promise<void> {
    let rest = chunk;
    while (rest.length > 0) {
      const part = rest.subarray(0, BLOCK - this.#length);
      this.#parts.push(part);
      this.#length += part.length;
      rest = rest.subarray(part.length);
      if (this.#length === BLOCK) await this.#flush();
    }
  }

  async finish(): Promise<void> {
    if (this.#queue.length === 0) {
      // small: not worth a thread
      const data = Buffer.concat(this.#parts);
      this.#crc = crc32(data, this.#crc);
      this.#size += data.length;
      this.#write(
        deflateRawSync(data, {
          level: this.#level,
          ...(this.#window.length > 0 && { dictionary: this.#window }),
        }),
      );
    } else {
      if (this.#length > 0) await this.#flush();
      while (this.#queue.length > 0) this.#write(await this.#queue.shift()!);
      this.#write(Buffer.from([3, 0]));
    }
    const trailer = Buffer.alloc(8);
    trailer.writeUInt32LE(this.#crc, 0);
    trailer.writeUInt32LE(this.#size % 2 ** 32, 4);
    this.#write(trailer);
  }

  async #flush(): Promise<void> {
    const block = this.#parts.length === 1 ? this.#parts[0]! : Buffer.concat(this.#parts);
    this.#parts = [];
    this.#length = 0;
    this.#crc = crc32(block, this.#crc);
    this.#size += block.length;
    this.#queue.push(compress(block, this.#window, this.#level));
    this.#window = block.subarray(-WINDOW);
    if (this.#queue.length >= IN_FLIGHT) this.#write(await this.#queue.shift()!);
  }
}

function compress(block: Buffer, dictionary: Buffer, level: number): Promise<Buffer> {
  const options = {
    level: compressible(block) ? level : 0,
    finishFlush: constants.Z_SYNC_FLUSH,
    ...(dictionary.length > 0 && { dictionary }),
  };
  return new Promise((resolve, reject) => {
    deflateRaw(block, options, (error, result) => (error ? reject(error) : resolve(result)));
  });
}

function compressible(block: Buffer): boolean {
  const middle = block.length >> 1;
  const probe = block.subarray(middle, middle + PROBE);
  return probe.length < PROBE || deflateRawSync(probe, { level: 1 }).length < probe.length * 0.97;
}
