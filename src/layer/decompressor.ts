// What layers unpack to, at once and in the thread that reads them: to have the zlib pool do it costs more than it
// takes.
import { Gunzip, ZstdDecompress, type ZlibOptions } from "minizlib";
import { constants } from "node:zlib";
import { freeMemory } from "../lib/index.js";

/** Bytes that are unpacked at once: fewer where they become a lot, a thousand times as many at most. */
const SLICE = 128 << 10;
const MIN_SLICE = 4 << 10;
/** Bytes that should come of a slice at most. */
const UNPACKED = 2 << 20;
/** Bytes of the memory that they are unpacked to: more often needs less, but would leave the processor's cache. */
const ROOM = 256 << 10;
/** zlib's, which the library hands on, and writes to. */
const options = (): ZlibOptions & { readonly chunkSize: number } => ({ chunkSize: ROOM });

/** What is known of a library's stream; its types are those of a newer Node. */
interface Engine {
  /** of the last write: how much was used */
  readonly handle?: { readonly bytesWritten: number };
}

export interface Decompressor {
  /**
   * @returns what these bytes unpack to, while it is asked for; that throws what is wrong with them. A part is good until
   * the next one is asked for.
   */
  push(chunk: Buffer): Iterable<Buffer>;
  /** @returns the rest; that throws if there should be more bytes */
  end(): Iterable<Buffer>;
}

/**
 * @param head the first bytes, by which a compression is known
 * @throws Error if they are not what `mediaType` promises
 */
export async function decompressorFor(head: Buffer, mediaType: string): Promise<Decompressor> {
  if (head.length >= 2 && head.readUInt16BE(0) === 0x1f8b) return fromStream(new Gunzip(options()));
  if (head.length >= 4 && head.readUInt32LE(0) === 0xfd2fb528) return zstd();
  if (mediaType.includes("gzip")) throw new Error("it is not gzip: invalid header");
  return { push: (chunk) => [chunk], end: () => [] };
}

async function zstd(): Promise<Decompressor> {
  if ("ZSTD_d_windowLogMax" in constants) return fromStream(new ZstdDecompress(options()), true);
  // an older Node
  const { Decompress } = await import("fzstd");
  let parts: Buffer[] = [];
  const decoder = new Decompress((data) => void parts.push(Buffer.from(data)));
  const push = function* (chunk: Uint8Array, isLast: boolean): Generator<Buffer> {
    parts = [];
    decoder.push(chunk, isLast);
    yield* parts;
  };
  // it keeps what it is given
  return { push: (chunk) => push(Buffer.from(chunk), false), end: () => push(new Uint8Array(0), true) };
}

/**
 * Of a stream that is done with a chunk when `write` returns.
 * @param stops it leaves what comes after the end of a frame
 */
function fromStream(stream: Gunzip | ZstdDecompress, stops = false): Decompressor {
  let parts: Buffer[] = [];
  let size = 0;
  let failed: { readonly error: unknown } | undefined;
  stream.on("data", (part: Buffer) => {
    parts.push(part);
    size += part.length;
  });
  stream.on("error", (error) => void (failed ??= { error }));
  const given = function* (task: () => unknown): Generator<Buffer> {
    parts = [];
    size = 0;
    task();
    if (failed) throw failed.error;
    for (const part of parts) {
      yield part;
      freeMemory(part);
    }
  };
  const write = (bytes: Buffer): void => {
    for (let rest = bytes; rest.length > 0 && !failed;) {
      stream.write(rest);
      const used = (stream as unknown as Engine).handle?.bytesWritten ?? 0;
      if (!stops || used === 0) return;
      rest = rest.subarray(used);
    }
  };
  let slice = SLICE;
  return {
    *push(chunk) {
      for (let at = 0; at < chunk.length;) {
        const bytes = chunk.subarray(at, at + slice);
        at += bytes.length;
        yield* given(() => write(bytes));
        slice = Math.min(SLICE, Math.max(MIN_SLICE, Math.floor((bytes.length * UNPACKED) / (size + 1))));
      }
    },
    *end() {
      yield* given(() => stream.end());
    },
  };
}
