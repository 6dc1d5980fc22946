// Remote build caches: the manifest BuildKit writes, and what a place to keep one must be able to do.
// Source of the format: test/golden/corpus (import/*/container, cache-*.json).
import type { BlobProvider, Descriptor } from "../content/index.js";
import type { Digest } from "../lib/index.js";
import type { Moved, Step } from "../progress/index.js";
import type { LayerDescriptor } from "../snapshot/index.js";

export interface CacheLayer {
  /** index of the layer below, -1 for none */
  readonly parent: number;
  readonly descriptor: LayerDescriptor;
  /** milliseconds since 1970 */
  readonly createdAt: number | undefined;
  /** what made it, where that is known: inline caches have it in the image's history */
  readonly description?: string | undefined;
}

export interface CacheManifestResult {
  /** index of its topmost layer */
  readonly layer: number;
  /** indexes of its layers, lowest first, where they are others than the topmost one's parents (inline caches) */
  readonly chain?: readonly number[];
  /** milliseconds since 1970 */
  readonly createdAt: number | undefined;
}

export interface CacheManifestRecord {
  readonly digest: Digest;
  /** for each input its alternatives; `link` is an index into the records */
  readonly inputs: readonly (readonly { readonly link: number; readonly selector: Digest | undefined }[])[];
  readonly results: readonly CacheManifestResult[];
}

export interface CacheManifest {
  readonly layers: readonly CacheLayer[];
  readonly records: readonly CacheManifestRecord[];
}

/** A cache that was found, not yet loaded into a build. */
export interface StoredCache {
  /** for messages and for the source of a hit: "azblob:app", "registry.example/app:cache" */
  readonly name: string;
  readonly manifest: CacheManifest;
  readonly blobs: BlobProvider;
  /** Whether a layer is still there, as far as asking costs little; true where only its download would tell. */
  hasBlob(layer: Descriptor, signal: AbortSignal): Promise<boolean>;
}

/** Where caches are looked for. */
export interface CacheSource {
  /** "azblob:app" */
  readonly name: string;
  /** in the order of their names; those that are not there are left out */
  read(signal: AbortSignal): Promise<readonly StoredCache[]>;
}

/** Blobs of a place whose bytes turned out to be wrong, until an export replaces them. */
export interface CorruptBlobs {
  has(digest: Digest): boolean;
  add(digest: Digest): void;
  delete(digest: Digest): void;
}

export interface CacheTraffic {
  readonly bytesSent: number;
  readonly bytesReceived: number;
  readonly requests: number;
  readonly retries: number;
}

/** A blob to be written. */
export interface CacheBlob {
  /** a file with it; asked for only if its bytes are needed */
  readonly file: () => Promise<string>;
  /** names of places that have it: "registry.example/app" */
  readonly providers: readonly string[];
}

/** Where a cache is written to: blobs by digest, the manifest last. */
export interface CacheTarget {
  /** what the export calls itself: "exporting cache to registry" */
  readonly title: string;
  /** what has been moved for this build so far, imports from the same place included */
  readonly traffic?: CacheTraffic;
  /** it takes no cache of nothing but keys */
  readonly needsLayers?: boolean;
  /** Called when the build begins. */
  begin?(signal: AbortSignal): Promise<void>;
  hasBlob(layer: Descriptor, signal: AbortSignal): Promise<boolean>;
  /** @param moved told of the bytes, as far as it can be said */
  putBlob(descriptor: Descriptor, blob: CacheBlob, moved: Moved, signal: AbortSignal): Promise<void>;
  writeManifest(manifest: CacheManifest, step: Step, signal: AbortSignal): Promise<void>;
}
