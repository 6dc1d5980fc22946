// Remote build caches: the manifest BuildKit writes, and what a place to keep one must be able to do.
// Source of the format: test/golden/corpus (import/*/container, cache-*.json).
import type { BlobProvider, Descriptor } from "../content/index.js";
import type { Digest } from "../lib/index.js";

export interface CacheLayer {
  readonly blob: Digest;
  /** index of the layer below, -1 for none */
  readonly parent: number;
  readonly mediaType: string;
  readonly diffId: Digest;
  readonly size: number;
  /** milliseconds since 1970 */
  readonly createdAt: number | undefined;
}

export interface CacheManifestRecord {
  readonly digest: Digest;
  /** for each input its alternatives; `link` is an index into the records */
  readonly inputs: readonly (readonly { readonly link: number; readonly selector: Digest | undefined }[])[];
  /** results: `layer` is an index into the layers */
  readonly results: readonly { readonly layer: number; readonly createdAt: number | undefined }[];
}

export interface CacheManifest {
  readonly layers: readonly CacheLayer[];
  readonly records: readonly CacheManifestRecord[];
}

/** A place that keeps caches: manifests by name, blobs by digest. */
export interface CacheBackend {
  /** for messages: "azblob" and where */
  readonly name: string;
  /** the newest manifest of the configured names, in order; `undefined` where there is none */
  readManifests(signal: AbortSignal): Promise<readonly { readonly name: string; readonly data: Buffer }[]>;
  writeManifest(data: Buffer, signal: AbortSignal): Promise<void>;
  hasBlob(digest: Digest, signal: AbortSignal): Promise<boolean>;
  putBlob(descriptor: Descriptor, file: string, signal: AbortSignal): Promise<void>;
  readonly blobs: BlobProvider;
}
