// A layer's file as the tar stream that it was made of.
import type { GrowingFile } from "../content/index.js";
import { BuildError, messageOf } from "../lib/index.js";
import { decompressorFor, SLICE, type Decompressor } from "./decompressor.js";
import { growingFile } from "./growing-file.js";

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
  for await (const chunk of growingFile(file, growing, SLICE, signal)) {
    decompressor ??= await checked(file, () => decompressorFor(chunk, mediaType));
    const known = decompressor;
    for (const part of await checked(file, () => known.push(chunk))) await take(part);
  }
  const rest = decompressor ?? (await checked(file, () => decompressorFor(Buffer.alloc(0), mediaType)));
  for (const part of await checked(file, () => rest.end())) await take(part);
}

async function checked<T>(file: string, task: () => Promise<T> | T): Promise<T> {
  try {
    return await task();
  } catch (cause) {
    throw new BuildError("LAYER_INVALID", `layer ${file} cannot be decompressed: ${messageOf(cause)}`, {
      cause,
    });
  }
}
