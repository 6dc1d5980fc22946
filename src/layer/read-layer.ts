// A layer's file as the tar stream that it was made of.
import type { GrowingFile } from "../content/index.js";
import { BuildError, messageOf } from "../lib/index.js";
import { decompressorFor, type Decompressor } from "./decompressor.js";
import { growingFile } from "./growing-file.js";

/** Bytes that are read at once. */
const CHUNK = 256 << 10;

export interface LayerFile {
  /** compressed layer */
  readonly file: string;
  /** what is known of it while it is still being written; read as it grows */
  readonly growing?: GrowingFile | undefined;
  readonly mediaType: string;
}

/**
 * Gives `take` what the layer unpacks to; a chunk is good until it is taken.
 * @throws BuildError LAYER_INVALID; what `take` throws
 */
export async function readLayer(
  { file, growing, mediaType }: LayerFile,
  signal: AbortSignal,
  take: (chunk: Buffer) => Promise<void> | void,
): Promise<void> {
  let decompressor: Decompressor | undefined;
  const begin = (head: Buffer): Promise<Decompressor> =>
    decompressorFor(head, mediaType).catch((error: unknown) => fail(file, error));
  for await (const chunk of growingFile(file, growing, CHUNK, signal)) {
    decompressor ??= await begin(chunk);
    for (const part of checked(file, decompressor.push(chunk))) await take(part);
  }
  decompressor ??= await begin(Buffer.alloc(0));
  for (const part of checked(file, decompressor.end())) await take(part);
}

/** What unpacking throws is told apart from what is thrown where its parts go. */
function* checked(file: string, parts: Iterable<Buffer>): Generator<Buffer> {
  try {
    yield* parts;
  } catch (error) {
    fail(file, error);
  }
}

function fail(file: string, cause: unknown): never {
  throw new BuildError("LAYER_INVALID", `layer ${file} cannot be decompressed: ${messageOf(cause)}`, {
    cause,
  });
}
