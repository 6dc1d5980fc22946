// Where a client keeps a cache of its own: an OCI image layout, on this machine or reached through its session.
import type { Descriptor } from "../../content/index.js";
import type { Digest } from "../../lib/index.js";

export interface LocalCacheFolder {
  /** absolute; as the client names it */
  readonly folder: string;
  readonly tag: string;
  /** the manifest to read, instead of the tag's */
  readonly digest: Digest | undefined;
}

export interface OciStore {
  /** for messages: "local:/tmp/cache" */
  readonly name: string;
  /** @throws BuildError CACHE_NOT_FOUND */
  tagged(tag: string): Promise<Digest>;
  /** A small blob, verified. @throws BuildError CACHE_NOT_FOUND, BLOB_CORRUPT */
  read(digest: Digest): Promise<Buffer>;
  open(descriptor: Descriptor, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>>;
  has(digest: Digest): Promise<boolean>;
  putFile(descriptor: Descriptor, file: string): Promise<void>;
  putData(descriptor: Descriptor, data: Uint8Array): Promise<void>;
  /** Gives a manifest that is there a name, in place of what had it. */
  tag(descriptor: Descriptor, tag: string): Promise<void>;
}
