// Blobs in files named after their digest. A blob is either there as a whole or not at all: it is written to a file of
// its own first and renamed when its digest is right. Several processes may share the folder.
import { createHash } from "node:crypto";
import { createWriteStream, existsSync, mkdirSync, statSync } from "node:fs";
import { readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { once } from "node:events";
import { BuildError, digestOf, hexOf, type Digest } from "../lib/index.js";
import type { BlobProvider, Descriptor } from "./types.js";

let counter = 0;

export class BlobStore {
  readonly #root: string;
  readonly #temporary: string;
  readonly #fetching = new Map<Digest, Promise<string>>();

  /** @param temporary a folder on the same file system that nobody else writes to */
  constructor(root: string, temporary: string) {
    this.#root = join(root, "sha256");
    this.#temporary = temporary;
    mkdirSync(this.#root, { recursive: true });
  }

  path(digest: Digest): string {
    return join(this.#root, hexOf(digest));
  }

  has(digest: Digest): boolean {
    return existsSync(this.path(digest));
  }

  size(digest: Digest): number {
    return statSync(this.path(digest)).size;
  }

  async read(digest: Digest): Promise<Buffer> {
    return readFile(this.path(digest));
  }

  async write(data: Uint8Array): Promise<Digest> {
    const digest = digestOf(data);
    if (this.has(digest)) return digest;
    const file = this.temporaryFile();
    await writeFile(file, data);
    await rename(file, this.path(digest));
    return digest;
  }

  /** A file name for a blob whose digest is not known yet; see `adopt`. */
  temporaryFile(): string {
    return join(this.#temporary, `blob-${process.pid}-${++counter}`);
  }

  /** Takes over a finished file; its digest is the caller's word. */
  async adopt(file: string, digest: Digest): Promise<void> {
    if (this.has(digest)) await rm(file, { force: true });
    else await rename(file, this.path(digest));
  }

  /**
   * Makes sure the blob is here and gives its path. Several callers share one transfer.
   * @throws BuildError BLOB_CORRUPT if the bytes don't have the digest
   */
  async fetch(descriptor: Descriptor, provider: BlobProvider, signal: AbortSignal): Promise<string> {
    if (this.has(descriptor.digest)) return this.path(descriptor.digest);
    let running = this.#fetching.get(descriptor.digest);
    if (!running) {
      running = this.#fetch(descriptor, provider, signal).finally(() =>
        this.#fetching.delete(descriptor.digest),
      );
      this.#fetching.set(descriptor.digest, running);
    }
    return running;
  }

  async #fetch(descriptor: Descriptor, provider: BlobProvider, signal: AbortSignal): Promise<string> {
    const file = this.temporaryFile();
    const hash = createHash("sha256");
    let size = 0;
    const out = createWriteStream(file, { highWaterMark: 1 << 20 });
    try {
      for await (const chunk of await provider.open(descriptor, signal)) {
        hash.update(chunk);
        size += chunk.length;
        if (!out.write(chunk)) await once(out, "drain", { signal });
      }
      out.end();
      await once(out, "finish");
      const digest = `sha256:${hash.digest("hex")}`;
      if (digest !== descriptor.digest) {
        throw new BuildError(
          "BLOB_CORRUPT",
          `${provider.name}: unexpected commit digest ${digest}, expected ${descriptor.digest}: failed precondition (${size} bytes)`,
        );
      }
      await rename(file, this.path(descriptor.digest));
      return this.path(descriptor.digest);
    } catch (error) {
      out.destroy();
      await rm(file, { force: true });
      throw error;
    }
  }
}
