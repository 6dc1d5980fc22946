// The attributes of outputs that make images, as buildx sends them.
import { BuildError, parseBool } from "../lib/index.js";
import { layerFormat } from "../snapshot/index.js";
import { formatPlatform, parsePlatform } from "../frontend/index.js";
import type { Annotation, ImageOptions } from "./types.js";

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
/** "annotation.KEY", "annotation-index.KEY", "annotation-manifest[linux/amd64].KEY" @throws BuildError ANNOTATION_INVALID */
export function annotationsOf(attributes: Readonly<Record<string, string>>): Annotation[] {
  return Object.entries(attributes).flatMap(([name, value]): Annotation[] => {
    const [, type = "manifest", platform, key] =
      /^annotation(?:-([a-z-]+))?(?:\[([A-Za-z0-9_/-]+)\])?\.(\S+)$/.exec(name) ?? [];
    if (key === undefined) return [];
    const on = ANNOTATION_TYPES.find((known) => known === type);
    if (!on) throw new BuildError("ANNOTATION_INVALID", `unrecognized annotation type ${type}`);
    return [{ on, platform: platform && formatPlatform(parsePlatform(platform)), key, value }];
  });
}

const ANNOTATION_TYPES = ["manifest", "index", "manifest-descriptor", "index-descriptor"] as const;
/** Keys of an output that say what a frontend else says of its result. */
const METADATA = /^containerimage\.config(\/|$)/;

export function imageOptions(attributes: Attributes = new Map()): ImageOptions {
  const format = layerFormat(attributes);
  // docker has no names for these
  const annotations = annotationsOf(Object.fromEntries(attributes));
  const ociArtifact = outputFlag(attributes, "oci-artifact") ?? false;
  const needsOci =
    ["zstd", "estargz"].includes(format.compression) || ociArtifact || annotations.some(isOfIndex);
  return {
    annotations,
    metadata: Object.fromEntries([...attributes].filter(([key]) => METADATA.test(key))),
    rewriteTimestamp: outputFlag(attributes, "rewrite-timestamp") ?? false,
    format,
    ociMediaTypes: needsOci || (outputFlag(attributes, "oci-mediatypes") ?? true),
    ociArtifact,
  };
}

/** Docker's formats have no place for these. */
export function isOfIndex({ on }: Annotation): boolean {
  return on !== "manifest";
}
