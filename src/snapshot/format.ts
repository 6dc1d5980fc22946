// How layers are packed: the compression attributes that image and cache exports share.
import { BuildError, parseBool } from "../lib/index.js";
import type { Compression } from "../layer/index.js";
import type { LayerDescriptor } from "./types.js";

export interface LayerFormat {
  readonly compression: Compression;
  /** gzip and estargz: 0 to 9; zstd: 0 to 22; `undefined`: the compression's own */
  readonly level: number | undefined;
  /** layers that are packed otherwise are packed anew */
  readonly force: boolean;
}

export const DEFAULT_FORMAT: LayerFormat = { compression: "gzip", level: undefined, force: false };

export const FORMAT_ATTRIBUTES: readonly string[] = ["compression", "compression-level", "force-compression"];

const LEVELS: Readonly<Record<Compression, number>> = { gzip: 9, estargz: 9, zstd: 22, uncompressed: 22 };

/**
 * @param attributes "compression", "compression-level", "force-compression"
 * @throws BuildError COMPRESSION_INVALID
 */
export function layerFormat(attributes: ReadonlyMap<string, string>): LayerFormat {
  const compression = (attributes.get("compression") || "gzip") as Compression;
  if (!(compression in LEVELS))
    throw invalid(`unsupported compression type ${compression}; use gzip, zstd, estargz or uncompressed`);
  const levelText = attributes.get("compression-level");
  const level = levelText === undefined ? undefined : Number(levelText);
  if (level !== undefined && (levelText === "" || !Number.isInteger(level)))
    throw invalid(`non-integer value ${levelText} specified for compression-level`);
  if (level !== undefined && (level < 0 || level > LEVELS[compression]))
    throw invalid(
      `compression-level ${level} is out of range: ${compression} has 0 to ${LEVELS[compression]}`,
    );
  const forceText = attributes.get("force-compression") ?? "false";
  const force = parseBool(forceText);
  if (force === undefined) throw invalid(`non-bool value ${forceText} specified for force-compression`);
  return { compression, level, force };
}

function invalid(message: string): BuildError {
  return new BuildError("COMPRESSION_INVALID", message);
}

/** Annotation of a layer's descriptor that tells eStargz from plain gzip. */
export const TOC_DIGEST = "containerd.io/snapshot/stargz/toc.digest";

export function compressionOf({ mediaType, annotations }: LayerDescriptor): Compression {
  if (annotations?.[TOC_DIGEST] !== undefined) return "estargz";
  if (/[+.]zstd$/.test(mediaType)) return "zstd";
  return /[+.]gzip$/.test(mediaType) ? "gzip" : "uncompressed";
}

/** The OCI media type of layers packed in this way. */
export function layerMediaType(compression: Compression): string {
  const suffix = compression === "uncompressed" ? "" : compression === "zstd" ? "+zstd" : "+gzip";
  return `application/vnd.oci.image.layer.v1.tar${suffix}`;
}
