// A layer's blob in another compression: what it unpacks to stays what it was, but for eStargz, which adds its index.
import { BuildError, type Digest } from "../lib/index.js";
import { readLayer } from "./read-layer.js";
import { packLayer, type PackOptions } from "./packer.js";
import type { LayerBlob } from "./types.js";

export interface ConvertOptions extends PackOptions {
  /** the layer as it is */
  readonly source: string;
  readonly mediaType: string;
  /** of the uncompressed layer */
  readonly diffId: Digest;
}

/**
 * Writes the layer to `file`.
 * @throws BuildError LAYER_INVALID, BLOB_CORRUPT
 */
export async function convertLayer(
  file: string,
  options: ConvertOptions,
  signal: AbortSignal,
): Promise<LayerBlob> {
  const { source, mediaType, diffId, compression } = options;
  const made = await packLayer(
    file,
    options,
    (write) => readLayer({ file: source, mediaType }, signal, write),
    signal,
  );
  if (compression !== "estargz" && made.diffId !== diffId)
    throw new BuildError("BLOB_CORRUPT", `layer ${source} unpacks to ${made.diffId}, expected ${diffId}`);
  return made;
}
