// One gzip member made of blocks that are compressed side by side on the zlib pool: each block is raw deflate with the
// last 32 KiB before it as dictionary, flushed to a byte boundary. Any gunzip reads it. What cannot be compressed is
// stored as it is. Memory is bounded by the number of blocks in flight, and used again: collecting it would take longer
// than filling it.
import { constants, crc32, deflateRaw, deflateRawSync } from "node:zlib";
import { freeMemory } from "../lib/index.js";

const BLOCK = 1 << 20;
const WINDOW = 32 << 10;
const IN_FLIGHT = 6;
const HEADER = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]);
const PROBE = 12 << 10;
/** Any block's output: zlib is asked once for each, not once for every 16 KiB. */
const OUTPUT = BLOCK + (BLOCK >> 7);

/** Bytes of a stored block at most, and of what stands before each (RFC 1951, 3.2.4). */
const STORED = 0xffff;
const STORED_HEADER = 5;
const STORED_ROOM = BLOCK + Math.ceil(BLOCK / STORED) * STORED_HEADER;

interface Block {
  readonly memory: Buffer;
  readonly data: Buffer;
  /** `undefined`: it is stored */
  readonly compressed: Promise<Buffer> | undefined;
}

/** zlib level 0 to 9; 4 gives the size of Go's default in less time. */
export class BlockGzip {
  /** memory of blocks that nobody uses */
  static readonly #free: Buffer[] = [];
  static #storedRoom: Buffer | undefined;
  readonly #write: (chunk: Buffer) => void;
  readonly #level: number;
  /** of the block that is being filled */
  #memory: Buffer | undefined;
  #length = 0;
  #window: Buffer = Buffer.alloc(0);
  #crc = 0;
  #size = 0;
  readonly #queue: Block[] = [];

  /** @param write is done with a chunk when it returns */
  constructor(write: (chunk: Buffer) => void, level = 4) {
    this.#write = write;
    this.#level = level;
    write(HEADER);
  }

  /** Once it is done, `chunk` may be used for something else. */
  async push(chunk: Buffer): Promise<void> {
    for (let at = 0; at < chunk.length;) {
      this.#memory ??= BlockGzip.#free.pop() ?? Buffer.allocUnsafeSlow(BLOCK);
      const copied = chunk.copy(this.#memory, this.#length, at);
      at += copied;
      this.#length += copied;
      if (this.#length === BLOCK) await this.#flush();
    }
  }

  async finish(): Promise<void> {
    if (this.#size === 0) {
      // small: not worth a thread
      const data = this.#memory?.subarray(0, this.#length) ?? Buffer.alloc(0);
      this.#count(data);
      this.#write(deflateRawSync(data, { level: this.#level }));
      if (this.#memory) BlockGzip.#free.push(this.#memory);
    } else {
      if (this.#length > 0) await this.#flush();
      while (this.#queue.length > 0) await this.#writeFirst();
      this.#write(Buffer.from([3, 0]));
    }
    const trailer = Buffer.alloc(8);
    trailer.writeUInt32LE(this.#crc, 0);
    trailer.writeUInt32LE(this.#size % 2 ** 32, 4);
    this.#write(trailer);
  }

  async #flush(): Promise<void> {
    const memory = this.#memory!;
    const data = memory.subarray(0, this.#length);
    this.#memory = undefined;
    this.#length = 0;
    this.#count(data);
    const isStored = this.#level === 0 || !isCompressible(data);
    const compressed = isStored ? undefined : compress(data, this.#window, this.#level);
    // it may fail before it is waited for
    compressed?.catch(() => undefined);
    this.#queue.push({ memory, data, compressed });
    this.#window = Buffer.from(data.subarray(-WINDOW));
    if (this.#queue.length >= IN_FLIGHT) await this.#writeFirst();
  }

  async #writeFirst(): Promise<void> {
    const { memory, data, compressed } = this.#queue.shift()!;
    if (compressed) {
      const bytes = await compressed;
      this.#write(bytes);
      freeMemory(bytes);
    } else {
      this.#write(BlockGzip.#stored(data));
    }
    BlockGzip.#free.push(memory);
  }

  #count(data: Buffer): void {
    this.#crc = crc32(data, this.#crc);
    this.#size += data.length;
  }

  /** What deflate has for data that is kept as it is; good until the next call. */
  static #stored(data: Buffer): Buffer {
    const room = (this.#storedRoom ??= Buffer.allocUnsafeSlow(STORED_ROOM));
    let length = 0;
    for (let at = 0; at < data.length; at += STORED) {
      const part = data.subarray(at, at + STORED);
      room[length] = 0;
      room.writeUInt16LE(part.length, length + 1);
      room.writeUInt16LE(STORED - part.length, length + 3);
      part.copy(room, length + STORED_HEADER);
      length += STORED_HEADER + part.length;
    }
    return room.subarray(0, length);
  }
}

function compress(block: Buffer, dictionary: Buffer, level: number): Promise<Buffer> {
  const options = {
    level,
    finishFlush: constants.Z_SYNC_FLUSH,
    chunkSize: OUTPUT,
    ...(dictionary.length > 0 && { dictionary }),
  };
  return new Promise((resolve, reject) => {
    deflateRaw(block, options, (error, result) => (error ? reject(error) : resolve(result)));
  });
}

function isCompressible(block: Buffer): boolean {
  const middle = block.length >> 1;
  const probe = block.subarray(middle, middle + PROBE);
  return probe.length < PROBE || deflateRawSync(probe, { level: 1 }).length < probe.length * 0.97;
}
