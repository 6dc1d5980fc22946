// A cache inside an image: its records in the config, whose layers are the image's own. Source of the format: images
// that BuildKit wrote.
import type { Digest } from "../lib/index.js";
import { encodeRecords } from "./manifest.js";
import type { CacheManifest, CacheManifestResult } from "./types.js";

/**
 * The records for an image with these layers, lowest first; results whose layers it does not have are left out.
 * @returns `undefined` if there is nothing to find in it
 */
export function inlineRecords(manifest: CacheManifest, imageLayers: readonly Digest[]): Buffer | undefined {
  const indexOf = new Map(imageLayers.map((digest, i) => [digest, i]));
  const records = manifest.records.map((record) => ({
    ...record,
    results: record.results.flatMap((result) => inImage(result, manifest, indexOf)),
  }));
  if (records.every(({ results }) => results.length === 0)) return undefined;
  return encodeRecords(records);
}

function inImage(
  { layer, createdAt }: CacheManifestResult,
  { layers }: CacheManifest,
  indexOf: ReadonlyMap<Digest, number>,
): CacheManifestResult[] {
  const chain: number[] = [];
  for (let at = layer; at !== -1; at = layers[at]!.parent) {
    const index = indexOf.get(layers[at]!.descriptor.digest);
    if (index === undefined) return [];
    chain.unshift(index);
  }
  const top = chain.at(-1)!;
  // the image's first layers, in its order: the topmost says it all
  return chain.every((index, i) => index === i)
    ? [{ layer: top, createdAt }]
    : [{ layer: top, chain, createdAt }];
}
