// Content: blobs on disk by their digest, and the database that says what is known about them.
import type { Digest } from "../lib/index.js";

/** An OCI descriptor. */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  /** bytes */
  readonly size: number;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** Bytes that come from somewhere else: a registry, a remote cache. */
export interface BlobProvider {
  /** for messages: "registry 127.0.0.1:5000/app" */
  readonly name: string;
  /** The bytes of `descriptor`; the caller verifies them, and has each piece until it asks for the next. */
  open(descriptor: Descriptor, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>>;
  /** it gives up itself when no bytes come */
  readonly watchesStalls?: boolean;
  /** The bytes it gave were not what they should be. */
  corrupt?(descriptor: Descriptor): void;
}
