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

/** A place that blobs come from: a registry, a remote cache. Who asks it for one verifies what comes. */
export type BlobProvider = StreamProvider | PartsProvider;

interface AnyProvider {
  /** for messages: "registry 127.0.0.1:5000/app" */
  readonly name: string;
  /** The bytes it gave were not what they should be. */
  corrupt?(descriptor: Descriptor): void;
}

/** It gives bytes in order. */
export interface StreamProvider extends AnyProvider {
  /** Each piece may be changed once the next is asked for. */
  open(descriptor: Descriptor, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>>;
}

/** It gives parts of a blob side by side, and notices itself when none comes any more. */
export interface PartsProvider extends AnyProvider {
  /** Once it is done or has failed, nothing more is written. */
  fetch(descriptor: Descriptor, sink: BlobSink, signal: AbortSignal): Promise<void>;
}

/** Where the bytes of a blob are put, in any order. */
export interface BlobSink {
  /** Once it is done, `bytes` may be used for something else. */
  write(bytes: Uint8Array, offset: number): Promise<void>;
}

/** A file that a blob is written to while others read it. It is not verified before it has the blob's own path. */
export interface GrowingFile {
  readonly file: string;
  /** one 64-bit number: how many bytes are there from the start on */
  readonly arrived: SharedArrayBuffer;
}
