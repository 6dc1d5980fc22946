// Results: chains of layers. A layer has a folder (its changes unpacked), a blob (its changes packed), or both; a layer
// with neither yet is lazy and knows where its blob can be had.
import type { BlobProvider, Descriptor } from "../content/index.js";
import type { Digest } from "../lib/index.js";

/** A blob with what it unpacks to. */
export interface LayerDescriptor extends Descriptor {
  readonly diffId: Digest;
}

/** The OCI name of a layer's media type, whatever the registry it came from calls it. */
export function ociLayerType(mediaType: string): string {
  return mediaType
    .replace("application/vnd.docker.image.rootfs.diff.tar", "application/vnd.oci.image.layer.v1.tar")
    .replace(/\.(gzip|zstd)$/, "+$1");
}

/** Docker's name of a layer's media type. */
export function dockerLayerType(mediaType: string): string {
  return mediaType
    .replace("application/vnd.oci.image.layer.v1.tar", "application/vnd.docker.image.rootfs.diff.tar")
    .replace(/\+(gzip|zstd)$/, ".$1");
}

/** What made a layer; BuildKit's names. */
export type LayerKind = "regular" | "source.local" | "source.git.checkout";

/** What the database keeps of a layer; the key is its id. */
export interface LayerRecord {
  readonly parent: number | undefined;
  /** the layer whose content this one puts on another result */
  readonly origin?: number;
  readonly blob: LayerDescriptor | undefined;
  readonly variants?: readonly LayerDescriptor[];
  /** milliseconds since 1970 */
  readonly createdAt: number;
  readonly description: string;
  readonly kind?: LayerKind;
  /** its folder is what a blob says, not what a step wrote */
  readonly isUnpacked?: boolean;
}

/** When a layer was used last, and how often. */
export interface LayerUse {
  /** on the logical clock; see `Activity` */
  readonly stamp: number;
  readonly count: number;
  /** milliseconds since 1970 */
  readonly usedAt: number;
}

export interface RemoteLayer {
  readonly descriptor: LayerDescriptor;
  readonly provider: BlobProvider;
  readonly createdAt?: number;
  readonly description?: string;
}
