// An OCI image layout in a folder of this machine.
import { randomUUID } from "node:crypto";
import { closeSync, createReadStream, existsSync, openSync } from "node:fs";
import { copyFile, mkdir, readFile, rename, rm, rmdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
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
import type { Descriptor } from "../../content/index.js";
import { tryLock } from "../../linux/index.js";
import type { OciStore } from "./types.js";

const TAG = "org.opencontainers.image.ref.name";
const NAME = "io.containerd.image.name";

interface IndexEntry {
  readonly mediaType?: string;
  readonly digest?: string;
  readonly size?: number;
  readonly annotations?: Readonly<Record<string, string>>;
}

export class DiskStore implements OciStore {
  readonly name: string;
  readonly #folder: string;

  /** @param folder absolute */
  constructor(folder: string) {
    this.#folder = folder;
    this.name = `local:${folder}`;
  }

  async tagged(tag: string): Promise<Digest> {
    const entries = await this.#index();
    const entry = entries.find(({ annotations }) => annotations?.[TAG] === tag);
    if (entry?.digest === undefined || !isDigest(entry.digest))
      throw new BuildError("CACHE_NOT_FOUND", `local cache ${this.#folder} has no tag ${tag}`);
    return entry.digest;
  }

  async read(digest: Digest): Promise<Buffer> {
    let data: Buffer;
    try {
      data = await readFile(this.path(digest));
    } catch (cause) {
      throw new BuildError("CACHE_NOT_FOUND", `local cache ${this.#folder}: ${messageOf(cause)}`, { cause });
    }
    if (digestOf(data) !== digest)
      throw new BuildError("BLOB_CORRUPT", `local cache ${this.#folder}: blob ${digest} has another content`);
    return data;
  }

  async open({ digest }: Descriptor): Promise<AsyncIterable<Uint8Array>> {
    return createReadStream(this.path(digest));
  }

  async has(digest: Digest): Promise<boolean> {
    return existsSync(this.path(digest));
  }

  putFile({ digest }: Descriptor, file: string): Promise<void> {
    return this.#put(digest, (target) => copyFile(file, target));
  }

  putData({ digest }: Descriptor, data: Uint8Array): Promise<void> {
    return this.#put(digest, (target) => writeFile(target, data));
  }

  path(digest: Digest): string {
    return join(this.#folder, "blobs", "sha256", hexOf(digest));
  }

  /** @returns a path for a file that is to be adopted */
  async newFile(): Promise<string> {
    const folder = join(this.#folder, "ingest");
    await mkdir(folder, { recursive: true });
    return join(folder, randomUUID());
  }

  /** Takes a file for a blob; whoever calls has compared its digest. */
  async adopt(file: string, digest: Digest): Promise<void> {
    await mkdir(dirname(this.path(digest)), { recursive: true });
    await rename(file, this.path(digest));
    await rmdir(dirname(file)).catch(() => undefined);
  }

  /** A blob is there as a whole or not at all, whoever else writes. */
  async #put(digest: Digest, write: (target: string) => Promise<void>): Promise<void> {
    const path = this.path(digest);
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

  /** @param name what clients of containerd call it: "registry.example/app:1" */
  async tag({ mediaType, digest, size }: Descriptor, tag: string, name?: string): Promise<void> {
    await mkdir(this.#folder, { recursive: true });
    const lock = openSync(join(this.#folder, "index.json.lock"), "w");
    try {
      while (!tryLock(lock)) await sleep(20);
      const others = (await this.#index()).filter(({ annotations }) => annotations?.[TAG] !== tag);
      const annotations = { ...(name !== undefined && { [NAME]: name }), [TAG]: tag };
      const entry = { mediaType, digest, size, annotations };
      const index = { schemaVersion: 2, manifests: [...others, entry] };
      await this.#replace(join(this.#folder, "oci-layout"), (target) =>
        writeFile(target, goJson({ imageLayoutVersion: "1.0.0" })),
      );
      await this.#replace(join(this.#folder, "index.json"), (target) =>
        writeFile(target, JSON.stringify(index)),
      );
    } finally {
      closeSync(lock);
    }
  }

  /** @throws BuildError CACHE_MANIFEST_INVALID */
  async #index(): Promise<readonly IndexEntry[]> {
    const path = join(this.#folder, "index.json");
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
