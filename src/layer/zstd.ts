// Layers compressed with zstd, where Node has none of its own (before 22.15) with the help of a library.
import * as zlib from "node:zlib";

type Compress = (block: Buffer, level: number) => Promise<Buffer>;

const BLOCK = 4 << 20;
const IN_FLIGHT = 4;
const DEFAULT_LEVEL = 3;

/** Frames that are compressed side by side; any reader of zstd takes one after another. */
export class BlockZstd {
  readonly #write: (chunk: Buffer) => void;
  readonly #compress: Compress;
  readonly #level: number;
  /** it is being filled */
  #block: Buffer | undefined;
  #length = 0;
  readonly #queue: Promise<Buffer>[] = [];
  #isEmpty = true;

  private constructor(write: (chunk: Buffer) => void, compress: Compress, level: number) {
    this.#write = write;
    this.#compress = compress;
    this.#level = level;
  }

  /** @param level 0 to 22; 0 is the default, as in the reference implementation */
  static async create(write: (chunk: Buffer) => void, level = DEFAULT_LEVEL): Promise<BlockZstd> {
    return new BlockZstd(write, await compressor(), level === 0 ? DEFAULT_LEVEL : level);
  }

  /** Once it is done, `chunk` may be used for something else. */
  async push(chunk: Buffer): Promise<void> {
    for (let at = 0; at < chunk.length;) {
      this.#block ??= Buffer.allocUnsafeSlow(BLOCK);
      const copied = chunk.copy(this.#block, this.#length, at);
      at += copied;
      this.#length += copied;
      if (this.#length === BLOCK) await this.#flush();
    }
  }

  async finish(): Promise<void> {
    if (this.#length > 0 || this.#isEmpty) await this.#flush();
    while (this.#queue.length > 0) this.#write(await this.#queue.shift()!);
  }

  async #flush(): Promise<void> {
    this.#isEmpty = false;
    const frame = this.#compress(this.#block?.subarray(0, this.#length) ?? Buffer.alloc(0), this.#level);
    frame.catch(() => undefined);
    this.#queue.push(frame);
    this.#block = undefined;
    this.#length = 0;
    if (this.#queue.length >= IN_FLIGHT) this.#write(await this.#queue.shift()!);
  }
}

/** Node's zstd, as far as its types for older versions don't know it. */
interface NodeZstd {
  readonly zstdCompress?: (
    data: Buffer,
    options: { readonly params: Readonly<Record<number, number>> },
    done: (error: Error | null, result: Buffer) => void,
  ) => void;
  readonly constants: { readonly ZSTD_c_compressionLevel?: number };
}

let loaded: Promise<Compress> | undefined;

/** Loaded once: the library cannot be initialized twice. */
function compressor(): Promise<Compress> {
  loaded ??= load();
  return loaded;
}

async function load(): Promise<Compress> {
  const { zstdCompress, constants } = zlib as unknown as NodeZstd;
  if (!zstdCompress) {
    const { compress, init } = await import("@bokuweb/zstd-wasm");
    await init();
    return async (block, level) => Buffer.from(compress(block, level));
  }
  return (block, level) =>
    new Promise((resolve, reject) => {
      const params = { [constants.ZSTD_c_compressionLevel!]: level };
      zstdCompress(block, { params }, (error, result) => (error ? reject(error) : resolve(result)));
    });
}
