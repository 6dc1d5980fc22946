// What layers unpack to, at once and in the thread that reads them: to have the zlib pool do it costs more than it
// takes.
import { Gunzip, ZstdDecompress, type ZlibOptions } from "minizlib";
import { constants } from "node:zlib";

/** Bytes that are unpacked at once: a thousand times as many may come of them. */
export const SLICE = 128 << 10;
/** Bytes of the memory that they are unpacked to: more often needs less, but would leave the processor's cache. */
const ROOM = 256 << 10;
/** zlib's, which the library hands on. */
const OPTIONS: ZlibOptions & { readonly chunkSize: number } = { chunkSize: ROOM };

export interface Decompressor {
  /** @returns what these bytes unpack to; throws what is wrong with them */
  push(chunk: Buffer): readonly Buffer[];
  /** @returns the rest; throws if there should be more bytes */
  end(): readonly Buffer[];
}

/**
 * @param head the first bytes, by which a compression is known
 * @throws Error if they are not what `mediaType` promises
 */
export async function decompressorFor(head: Buffer, mediaType: string): Promise<Decompressor> {
  if (head.length >= 2 && head.readUInt16BE(0) === 0x1f8b) return fromStream(new Gunzip(OPTIONS));
  if (head.length >= 4 && head.readUInt32LE(0) === 0xfd2fb528) return zstd();
  if (mediaType.includes("gzip")) throw new Error("it is not gzip: invalid header");
  return { push: (chunk) => [chunk], end: () => [] };
}

async function zstd(): Promise<Decompressor> {
  if ("ZSTD_d_windowLogMax" in constants) return fromStream(new ZstdDecompress(OPTIONS));
  // an older Node
  const { Decompress } = await import("fzstd");
  let parts: Buffer[] = [];
  const decoder = new Decompress((data) => void parts.push(Buffer.from(data)));
  const push = (chunk: Uint8Array, isLast: boolean): readonly Buffer[] => {
    parts = [];
    decoder.push(chunk, isLast);
    return parts;
  };
  // it keeps what it is given
  return { push: (chunk) => push(Buffer.from(chunk), false), end: () => push(new Uint8Array(0), true) };
}

/** Of a stream that is done with a chunk when `write` returns. */
function fromStream(stream: Gunzip | ZstdDecompress): Decompressor {
  let parts: Buffer[] = [];
  let failed: { readonly error: unknown } | undefined;
  stream.on("data", (part: Buffer) => void parts.push(part));
  stream.on("error", (error) => void (failed ??= { error }));
  const taking = (task: () => unknown): readonly Buffer[] => {
    parts = [];
    task();
    if (failed) throw failed.error;
    return parts;
  };
  return { push: (chunk) => taking(() => stream.write(chunk)), end: () => taking(() => stream.end()) };
}
