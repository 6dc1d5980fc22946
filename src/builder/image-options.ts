// The attributes of outputs that make images, as buildx sends them.
import { BuildError, parseBool } from "../lib/index.js";
import { layerFormat } from "../snapshot/index.js";
import type { ImageOptions } from "./types.js";

type Attributes = ReadonlyMap<string, string>;

/** @throws BuildError OUTPUT_INVALID */
export function outputFlag(attributes: Attributes, key: string): boolean | undefined {
  const text = attributes.get(key);
  if (text === undefined) return undefined;
  const value = parseBool(text);
  if (value === undefined)
    throw new BuildError("OUTPUT_INVALID", `--output: non-bool value "${text}" specified for ${key}`);
  return value;
}

/** @throws BuildError OUTPUT_INVALID, FLAG_INVALID */
export function imageOptions(attributes: Attributes = new Map()): ImageOptions {
  const format = layerFormat(attributes);
  // docker has no names for these
  const needsOci = format.compression === "zstd" || format.compression === "estargz";
  return {
    rewriteTimestamp: outputFlag(attributes, "rewrite-timestamp") ?? false,
    format,
    ociMediaTypes: needsOci || (outputFlag(attributes, "oci-mediatypes") ?? true),
    ociArtifact: outputFlag(attributes, "oci-artifact") ?? false,
  };
}
