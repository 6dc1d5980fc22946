// The cache in Azure Blob Storage: <prefix><manifests_prefix>/<name> and <prefix><blobs_prefix>/<digest>, as BuildKit
// lays them out. Blobs travel in parts, many at once; the manifest is written last, and loses nothing that another
// export wrote meanwhile.
import { open } from "node:fs/promises";
import { posix } from "node:path";
import { BuildError, Limiter, type Digest } from "../../lib/index.js";
import type { BlobSink, Descriptor, PartsProvider } from "../../content/index.js";
import type { Moved, Step } from "../../progress/index.js";
import { decodeManifest, encodeManifest } from "../manifest.js";
import { mergeManifests } from "../merge.js";
import type {
  CacheBlob,
  CacheManifest,
  CacheSource,
  CacheTarget,
  CacheTraffic,
  CorruptBlobs,
  StoredCache,
} from "../types.js";
import { AzblobContainer, type StoredBlob } from "./container.js";
import type { AzblobConfig, FilePart } from "./types.js";

/** Bytes of a block or a range. */
const PART = 8 << 20;
/** Blobs up to this go up in one request. */
const SINGLE = 8 << 20;
/** Ranges of one blob that are asked for at once. */
const AT_ONCE = 16;
/** How often a manifest is merged with what others write at the same time. */
const MERGES = 10;

/** What the exports and imports of a build share of a container. */
export class AzblobPlace {
  readonly container: AzblobContainer;
  /** manifests as they were when the build first looked, by path */
  readonly manifests = new Map<string, Promise<StoredBlob | undefined>>();
  readonly corrupt: CorruptBlobs;
  /** blobs that this build has put there */
  readonly written = new Set<Digest>();
  listed: Promise<ReadonlyMap<Digest, number> | undefined> | undefined;

  constructor(config: AzblobConfig, corrupt: CorruptBlobs = new Set()) {
    this.corrupt = corrupt;
    this.container = new AzblobContainer(config);
  }

  /** Equal for configurations that can share one. */
  static key(config: AzblobConfig): string {
    const { accountUrl, container, prefix, blobsPrefix, manifestsPrefix, sas, accountKey, clientId } = config;
    const signed = sas?.reveal() ?? accountKey?.reveal() ?? clientId ?? "";
    return JSON.stringify([accountUrl, container, prefix, blobsPrefix, manifestsPrefix, signed]);
  }
}

export class AzblobBackend implements CacheSource, CacheTarget {
  readonly title = "exporting cache to Azure Blob Storage";
  readonly name: string;
  readonly #config: AzblobConfig;
  readonly #place: AzblobPlace;
  readonly #blobs: PartsProvider;

  constructor(config: AzblobConfig, place = new AzblobPlace(config)) {
    this.#config = config;
    this.#place = place;
    this.name = `azblob:${config.names.join(";")}`;
    this.#blobs = {
      name: `azblob ${config.accountUrl}/${config.container}`,
      fetch: (descriptor, sink, signal) => this.#fetch(descriptor, sink, signal),
      corrupt: ({ digest }) => this.#place.corrupt.add(digest),
    };
  }

  get traffic(): CacheTraffic {
    const { stats, retries } = this.#place.container;
    return { ...stats, retries: retries.used };
  }

  async read(signal: AbortSignal): Promise<readonly StoredCache[]> {
    // whoever finds a manifest will ask for its blobs
    void this.#listing(signal).catch(() => undefined);
    const found = await Promise.all(
      this.#config.names.map(async (name) => ({ name, stored: await this.#manifest(name, signal) })),
    );
    return found.flatMap(({ name, stored }) =>
      stored
        ? [
            {
              name: `azblob:${name}`,
              manifest: decodeManifest(stored.data),
              blobs: this.#blobs,
              hasBlob: (layer: Descriptor, during: AbortSignal) => this.hasBlob(layer, during),
            },
          ]
        : [],
    );
  }

  /** Looks at what is there before the build begins: what comes later is somebody else's. */
  async begin(signal: AbortSignal): Promise<void> {
    if (this.#config.merge) await Promise.all(this.#config.names.map((name) => this.#manifest(name, signal)));
  }

  #manifest(name: string, signal: AbortSignal): Promise<StoredBlob | undefined> {
    const path = this.#manifestPath(name);
    let running = this.#place.manifests.get(path);
    if (!running) {
      running = this.#place.container.read(path, signal);
      this.#place.manifests.set(path, running);
    }
    return running;
  }

  async writeManifest(manifest: CacheManifest, step: Step, signal: AbortSignal): Promise<void> {
    await step.status("writing cache manifest", async () => {
      for (const name of this.#config.names) await this.#writeManifest(name, manifest, signal);
    });
  }

  async #writeManifest(name: string, manifest: CacheManifest, signal: AbortSignal): Promise<void> {
    const path = this.#manifestPath(name);
    const { container } = this.#place;
    let data = encodeManifest(manifest);
    if (!this.#config.merge) {
      await container.write(path, data, {}, signal);
      return;
    }
    // what this build began with is replaced; what was written since is kept
    let known = await this.#manifest(name, signal).catch(() => undefined);
    for (let merges = 0; merges <= MERGES; merges++) {
      if (known?.data.equals(data)) return;
      const condition = known ? { etag: known.etag } : { isNew: true };
      if (await container.write(path, data, condition, signal)) return;
      known = await container.read(path, signal);
      if (!known) continue;
      const theirs = await readable(known);
      if (theirs) data = encodeManifest(await mergeManifests(manifest, theirs));
    }
    throw new BuildError("AZBLOB_BUSY", `azblob: manifest ${name} is written to by too many others`);
  }

  /** What is there is learnt from one listing; where there may be none, or it would be long, blobs are asked for. */
  async hasBlob({ digest, size }: Descriptor, signal: AbortSignal): Promise<boolean> {
    if (this.#place.written.has(digest)) return true;
    if (this.#place.corrupt.has(digest)) return false;
    const listed = await this.#listing(signal);
    if (listed && size > 0) return listed.get(digest) === size;
    return listed ? isThere(listed, digest) : this.#place.container.has(this.#blobPath(digest), signal);
  }

  /** Made once; again after one that failed. */
  #listing(signal: AbortSignal): Promise<ReadonlyMap<Digest, number> | undefined> {
    const place = this.#place;
    place.listed ??= this.#list(signal).catch((error: unknown) => {
      place.listed = undefined;
      throw error;
    });
    return place.listed;
  }

  async #list(signal: AbortSignal): Promise<ReadonlyMap<Digest, number> | undefined> {
    const prefix = posix.join(this.#config.prefix, this.#config.blobsPrefix, "/");
    const found = await this.#place.container.list(prefix, signal);
    return found && new Map([...found].map(([path, size]) => [path.slice(prefix.length) as Digest, size]));
  }

  async putBlob(
    descriptor: Descriptor,
    { file: content }: CacheBlob,
    moved: Moved,
    signal: AbortSignal,
  ): Promise<void> {
    const { digest } = descriptor;
    const file = await open(await content(), "r");
    try {
      const { size } = await file.stat();
      // somebody may be faster, which is as good; but not where what is there is wrong
      const listed = await this.#place.listed;
      const isWrong = this.#place.corrupt.has(digest) || (listed !== undefined && isThere(listed, digest));
      const condition = isWrong ? {} : { isNew: true };
      const path = this.#blobPath(digest);
      const { container } = this.#place;
      if (size <= SINGLE) {
        await container.write(path, { file, offset: 0, size }, condition, signal);
        moved(size);
      } else {
        const mayBeStaged = listed?.has(digest) ?? true;
        const staged = mayBeStaged ? await container.stagedBlocks(path, signal) : new Map<string, number>();
        const ids = await this.#stage(path, { file, offset: 0, size }, staged, moved, signal);
        await container.commit(path, ids, condition, signal);
      }
    } finally {
      await file.close();
    }
    this.#place.corrupt.delete(digest);
    this.#place.written.add(digest);
  }

  /**
   * Sends what is not waiting there from an export that broke.
   * @param staged sizes of the blocks that are, by id
   * @returns the blocks' ids in order
   */
  async #stage(
    path: string,
    content: FilePart,
    staged: ReadonlyMap<string, number>,
    moved: Moved,
    signal: AbortSignal,
  ): Promise<string[]> {
    return allOrNone(partsOf(content.size), signal, async ({ offset, size }, during) => {
      const id = Buffer.from(`${PART}-${String(offset / PART).padStart(8, "0")}`).toString("base64");
      if (staged.get(id) === size) return id;
      await this.#place.container.stageBlock(path, id, { file: content.file, offset, size }, during);
      moved(size);
      return id;
    });
  }

  async #fetch({ digest, size }: Descriptor, sink: BlobSink, signal: AbortSignal): Promise<void> {
    const path = this.#blobPath(digest);
    const { container } = this.#place;
    if (size === 0) {
      // a manifest that does not say how long its layers are
      const stored = await container.read(path, signal);
      if (!stored) throw new BuildError("AZBLOB_NOT_FOUND", `azblob: ${path} is not there`);
      await sink.write(stored.data, 0);
      return;
    }
    const some = new Limiter(AT_ONCE);
    await allOrNone(partsOf(size), signal, (part, during) =>
      some.run(async () => {
        during.throwIfAborted();
        let at = part.offset;
        const take = (piece: Buffer): Promise<void> => {
          const offset = at;
          at += piece.length;
          return sink.write(piece, offset);
        };
        await container.readRange(path, part.offset, part.size, take, during);
      }),
    );
  }

  #manifestPath(name: string): string {
    return posix.join(this.#config.prefix, this.#config.manifestsPrefix, name);
  }

  #blobPath(digest: Digest): string {
    return posix.join(this.#config.prefix, this.#config.blobsPrefix, digest);
  }
}

function isThere(listed: ReadonlyMap<Digest, number>, digest: Digest): boolean {
  return (listed.get(digest) ?? 0) > 0;
}

interface Part {
  readonly offset: number;
  readonly size: number;
}

function partsOf(size: number): readonly Part[] {
  return Array.from({ length: Math.ceil(size / PART) }, (_, i) => ({
    offset: i * PART,
    size: Math.min(PART, size - i * PART),
  }));
}

/** If one fails, the others are canceled; whatever happens, all have ended at the end. */
async function allOrNone<T>(
  parts: readonly Part[],
  signal: AbortSignal,
  task: (part: Part, during: AbortSignal) => Promise<T>,
): Promise<T[]> {
  const stop = new AbortController();
  const during = AbortSignal.any([signal, stop.signal]);
  const tasks = parts.map((part) => task(part, during));
  try {
    return await Promise.all(tasks);
  } catch (error) {
    stop.abort(error);
    await Promise.allSettled(tasks);
    throw error;
  }
}

/** What somebody wrote that is no manifest is not worth keeping. */
async function readable({ data }: StoredBlob): Promise<CacheManifest | undefined> {
  try {
    return decodeManifest(data);
  } catch {
    return undefined;
  }
}
