// A cache in a folder of the client: an OCI image layout, each cache under a tag of its index.
import { closeSync, createReadStream, existsSync, openSync } from "node:fs";
import { copyFile, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  BuildError,
  codeOf,
  digestOf,
  goJson,
  hexOf,
  isDigest,
  messageOf,
  type Digest,
} from "../../lib/index.js";
import type { BlobProvider, Descriptor } from "../../content/index.js";
import { tryLock } from "../../linux/index.js";
import type { Moved, Step } from "../../progress/index.js";
import { decodeOciCaches, encodeOciCache, type OciCacheForm } from "../oci.js";
import type { CacheBlob, CacheManifest, CacheSource, CacheTarget, StoredCache } from "../types.js";

const TAG = "org.opencontainers.image.ref.name";

export interface LocalCacheFolder {
  /** absolute */
  readonly folder: string;
  readonly tag: string;
  /** the manifest to read, instead of the tag's */
  readonly digest: Digest | undefined;
}

interface IndexEntry {
  readonly mediaType?: string;
  readonly digest?: string;
  readonly size?: number;
  readonly annotations?: Readonly<Record<string, string>>;
}

export class LocalBackend implements CacheSource, CacheTarget {
  readonly title = "exporting cache to client directory";
  readonly name: string;
  readonly #place: LocalCacheFolder;
  readonly #form: OciCacheForm;

  constructor(place: LocalCacheFolder, form: OciCacheForm) {
    this.#place = place;
    this.#form = form;
    this.name = `local:${place.folder}`;
  }

  async read(): Promise<readonly StoredCache[]> {
    const digest = this.#place.digest ?? (await this.#tagged());
    const manifests = await decodeOciCaches(await this.#blob(digest), (descriptor) =>
      this.#blob(descriptor.digest),
    );
    const blobs: BlobProvider = {
      name: this.name,
      open: async (descriptor) => createReadStream(this.#path(descriptor.digest)),
    };
    const hasBlob = (layer: Descriptor): Promise<boolean> => this.hasBlob(layer);
    return manifests.map((manifest) => ({ name: this.name, manifest, blobs, hasBlob }));
  }

  async #tagged(): Promise<Digest> {
    const { folder, tag } = this.#place;
    const entries = await this.#index();
    const entry = entries.find(({ annotations }) => annotations?.[TAG] === tag);
    if (entry?.digest === undefined || !isDigest(entry.digest))
      throw new BuildError("CACHE_NOT_FOUND", `local cache ${folder} has no tag ${tag}`);
    return entry.digest;
  }

  async #blob(digest: Digest): Promise<Buffer> {
    let data: Buffer;
    try {
      data = await readFile(this.#path(digest));
    } catch (cause) {
      throw new BuildError("CACHE_NOT_FOUND", `local cache ${this.#place.folder}: ${messageOf(cause)}`, {
        cause,
      });
    }
    if (digestOf(data) !== digest)
      throw new BuildError(
        "BLOB_CORRUPT",
        `local cache ${this.#place.folder}: blob ${digest} has another content`,
      );
    return data;
  }

  async hasBlob({ digest }: Descriptor): Promise<boolean> {
    return existsSync(this.#path(digest));
  }

  async putBlob({ digest, size }: Descriptor, { file }: CacheBlob, moved: Moved): Promise<void> {
    const source = await file();
    await this.#put(digest, (target) => copyFile(source, target));
    moved(size);
  }

  async writeManifest(manifest: CacheManifest, step: Step): Promise<void> {
    const cache = encodeOciCache(manifest, this.#form);
    const { descriptor, configDescriptor } = cache;
    await step.status(`writing config ${configDescriptor.digest}`, () =>
      this.#put(configDescriptor.digest, (target) => writeFile(target, cache.config)),
    );
    await step.status(`writing cache manifest ${descriptor.digest}`, async () => {
      await this.#put(descriptor.digest, (target) => writeFile(target, cache.manifest));
      await this.#tag(descriptor);
    });
  }

  #path(digest: Digest): string {
    return join(this.#place.folder, "blobs", "sha256", hexOf(digest));
  }

  /** A blob is there as a whole or not at all, whoever else writes. */
  async #put(digest: Digest, write: (target: string) => Promise<void>): Promise<void> {
    const path = this.#path(digest);
    if (existsSync(path)) return;
    await this.#replace(path, write);
  }

  async #replace(path: string, write: (target: string) => Promise<void>): Promise<void> {
    await mkdir(join(path, ".."), { recursive: true });
    const temporary = `${path}.${process.pid}.${Date.now().toString(36)}`;
    try {
      await write(temporary);
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
  }

  async #tag({ mediaType, digest, size }: Descriptor): Promise<void> {
    const { folder, tag } = this.#place;
    const lock = openSync(join(folder, "index.json.lock"), "w");
    try {
      while (!tryLock(lock)) await sleep(20);
      const others = (await this.#index()).filter(({ annotations }) => annotations?.[TAG] !== tag);
      const entry = { mediaType, digest, size, annotations: { [TAG]: tag } };
      const index = { schemaVersion: 2, manifests: [...others, entry] };
      await this.#replace(join(folder, "oci-layout"), (target) =>
        writeFile(target, goJson({ imageLayoutVersion: "1.0.0" })),
      );
      await this.#replace(join(folder, "index.json"), (target) => writeFile(target, JSON.stringify(index)));
    } finally {
      closeSync(lock);
    }
  }

  /** @throws BuildError CACHE_MANIFEST_INVALID */
  async #index(): Promise<readonly IndexEntry[]> {
    const path = join(this.#place.folder, "index.json");
    try {
      const { manifests = [] } = JSON.parse(await readFile(path, "utf8")) as { manifests?: IndexEntry[] };
      return manifests;
    } catch (cause) {
      if (codeOf(cause) === "ENOENT") return [];
      throw new BuildError("CACHE_MANIFEST_INVALID", `${path} cannot be read: ${messageOf(cause)}`, {
        cause,
      });
    }
  }
}
