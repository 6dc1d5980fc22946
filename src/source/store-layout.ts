// Images in a store of blobs that is not on this machine, looked at as a registry is.
import type { BlobProvider, Descriptor } from "../content/index.js";
import { BuildError, type Digest } from "../lib/index.js";
import type { Manifest, Reference } from "../registry/index.js";
import type { ImageHost } from "./image.js";

export interface BlobReader {
  /** for messages */
  readonly name: string;
  read(digest: Digest): Promise<Buffer>;
  open(descriptor: Descriptor, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>>;
}

export class StoreLayout implements ImageHost {
  readonly #store: BlobReader;

  constructor(store: BlobReader) {
    this.#store = store;
  }

  /** @throws BuildError IMAGE_NOT_FOUND, BLOB_CORRUPT */
  async manifest({ digest }: Reference): Promise<Manifest> {
    if (digest === undefined)
      throw new BuildError("IMAGE_NOT_FOUND", `${this.#store.name}: no digest is given`);
    const data = await this.#store.read(digest);
    return { descriptor: { mediaType: mediaTypeOf(data), digest, size: data.length }, data };
  }

  blobs(): BlobProvider {
    return {
      name: `oci-layout ${this.#store.name}`,
      open: (descriptor, signal) => this.#store.open(descriptor, signal),
    };
  }
}

/** Manifests say it, or can be told by what they have. */
export function mediaTypeOf(data: Buffer): string {
  const { mediaType, manifests } = JSON.parse(data.toString()) as { mediaType?: string; manifests?: unknown };
  return mediaType ?? `application/vnd.oci.image.${manifests ? "index" : "manifest"}.v1+json`;
}
