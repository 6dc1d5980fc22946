// All layers of a state folder. Folders are immutable once they stand under their id; a folder is made elsewhere and
// renamed, so that a killed process never leaves half of one.
import { existsSync, mkdirSync } from "node:fs";
import { rename, rm, symlink } from "node:fs/promises";
import { join } from "node:path";
import { BuildError, codeOf, digestOf, type Digest } from "../lib/index.js";
import type { BlobProvider, BlobStore, Database, StateDir, Table } from "../content/index.js";
import type { LayerBlob } from "../layer/index.js";
import type { Worker } from "../worker/index.js";
import { compressionOf, DEFAULT_FORMAT, layerMediaType, type LayerFormat } from "./format.js";
import type { LayerDescriptor, LayerRecord, RemoteLayer } from "./types.js";

/** A result: the layer on top and all below it. */
export class Ref {
  readonly id: number;
  readonly parent: Ref | undefined;
  readonly createdAt: number;
  readonly description: string;
  blob: LayerDescriptor | undefined;
  /** the same content in other compressions */
  variants: readonly LayerDescriptor[];
  /** the layer that this one puts on another result */
  origin: Ref | undefined;
  /** where the blob can be had, the one to ask first first */
  providers: readonly BlobProvider[] = [];
  /** its blob does not unpack to what it should; another blob may */
  isBroken = false;

  constructor(id: number, parent: Ref | undefined, record: LayerRecord) {
    this.id = id;
    this.parent = parent;
    this.createdAt = record.createdAt;
    this.description = record.description;
    this.blob = record.blob;
    this.variants = record.variants ?? [];
  }

  /** lowest first */
  get chain(): Ref[] {
    const chain: Ref[] = [];
    for (let ref: Ref | undefined = this; ref; ref = ref.parent) chain.unshift(ref); // eslint-disable-line @typescript-eslint/no-this-alias
    return chain;
  }
}

export interface RefStoreOptions {
  readonly state: StateDir;
  readonly database: Database;
  readonly blobs: BlobStore;
  readonly worker: Worker;
}

export class RefStore {
  readonly #state: StateDir;
  readonly #database: Database;
  readonly #blobs: BlobStore;
  readonly #worker: Worker;
  readonly #layers: Table<LayerRecord>;
  /** chain id -> layer id */
  readonly #chains: Table<number>;
  readonly #counters: Table<number>;
  readonly #refs = new Map<number, Ref>();
  readonly #unpacking = new Map<number, Promise<void>>();
  readonly #packing = new Map<string, Promise<LayerDescriptor>>();
  /** blobs that a provider could not give, though it should have them */
  readonly #failed = new WeakMap<BlobProvider, Set<Digest>>();
  #active = 0;

  constructor({ state, database, blobs, worker }: RefStoreOptions) {
    this.#state = state;
    this.#database = database;
    this.#blobs = blobs;
    this.#worker = worker;
    this.#layers = database.table("layers");
    this.#chains = database.table("chains");
    this.#counters = database.table("counters");
    mkdirSync(join(state.root, "s"), { recursive: true });
  }

  /** The result with this id, if it is known. */
  get(id: number): Ref | undefined {
    const known = this.#refs.get(id);
    if (known) return known;
    const record = this.#layers.get(String(id));
    if (!record) return undefined;
    const parent = record.parent === undefined ? undefined : this.get(record.parent);
    if (record.parent !== undefined && !parent) return undefined;
    const ref = new Ref(id, parent, record);
    this.#refs.set(id, ref);
    return ref;
  }

  /**
   * Whether every layer's content can be had: from disk, or from where it came from in this process. A transfer that
   * failed makes it false; nothing else but a new provider makes it true again.
   */
  isAvailable(ref: Ref): boolean {
    return ref.chain.every(
      (layer) =>
        this.hasFolder(layer) ||
        (layer.blob !== undefined &&
          !layer.isBroken &&
          (this.#blobs.has(layer.blob.digest) || layer.providers.length > 0)),
    );
  }

  hasFolder(ref: Ref): boolean {
    return existsSync(join(this.#state.root, layerPath(ref.id)));
  }

  /** Paths of the unpacked layers, lowest first, relative to the state folder. Unpacks what is missing. */
  async folders(ref: Ref | undefined, signal: AbortSignal): Promise<string[]> {
    if (!ref) return [];
    await this.unpack(ref, signal);
    return ref.chain.map((layer) => layerPath(layer.id));
  }

  /** Two folders for changes on top of a result, relative to the state folder; see `commit`. */
  newFolders(): { upper: string; work: string } {
    const base = `${this.#state.own.slice(this.#state.root.length + 1)}/a${++this.#active}`;
    mkdirSync(join(this.#state.root, base, "fs"), { recursive: true });
    return { upper: `${base}/fs`, work: `${base}/work` };
  }

  /** Makes the changes in `upper` a layer on top of `parent`. */
  async commit(upper: string, parent: Ref | undefined, description: string): Promise<Ref> {
    const ref = this.#create(parent, undefined, description, Date.now());
    await rename(join(this.#state.root, upper), join(this.#state.root, layerPath(ref.id)));
    await this.discard(upper);
    return ref;
  }

  /** Forgets changes that did not become a layer. */
  async discard(upper: string): Promise<void> {
    await rm(join(this.#state.root, upper, ".."), { recursive: true, force: true });
  }

  /** The changes of one layer on top of another result: same blob, same folder. */
  async stack(layer: Ref, parent: Ref, signal: AbortSignal): Promise<Ref> {
    await this.unpack(layer, signal);
    const blob = await this.pack(layer, signal);
    const ref = this.#create(parent, blob, layer.description, layer.createdAt);
    ref.providers = layer.providers;
    ref.origin = layer;
    await symlink(String(layer.id), join(this.#state.root, layerPath(ref.id)));
    return ref;
  }

  /** A result made of blobs; nothing is fetched. Equal chains are one result. */
  fromRemote(layers: readonly RemoteLayer[], description: string): Ref | undefined {
    let ref: Ref | undefined;
    let chainId: Digest | undefined;
    for (const { descriptor, provider, createdAt } of layers) {
      chainId = chainId === undefined ? descriptor.diffId : digestOf(`${chainId} ${descriptor.diffId}`);
      const parent = ref;
      const key = chainId;
      ref = this.#database.transaction(() => {
        const known = this.#chains.get(key);
        const existing = known === undefined ? undefined : this.get(known);
        if (existing) return existing;
        const made = this.#create(parent, descriptor, description, createdAt ?? Date.now());
        void this.#chains.put(key, made.id);
        return made;
      });
      if (!this.#failed.get(provider)?.has(descriptor.digest)) this.#provide(ref, descriptor, provider);
    }
    return ref;
  }

  /** Another place where a layer can be had. */
  #provide(ref: Ref, descriptor: LayerDescriptor, provider: BlobProvider): void {
    ref.blob ??= descriptor;
    if (ref.blob.digest === descriptor.digest) {
      ref.providers = [provider, ...ref.providers.filter((other) => other.name !== provider.name)];
    } else if (ref.isBroken || (!this.hasFolder(ref) && !this.#blobs.has(ref.blob.digest))) {
      ref.blob = descriptor;
      ref.providers = [provider];
      ref.isBroken = false;
    }
  }

  /** Makes sure that every layer of `ref` has its folder: blobs are fetched side by side, unpacked in order. */
  async unpack(ref: Ref, signal: AbortSignal): Promise<void> {
    const missing = ref.chain.filter((layer) => !this.hasFolder(layer));
    const files = missing.map((layer) => this.#fetch(layer, signal));
    for (const file of files) file.catch(() => undefined);
    for (const [i, layer] of missing.entries()) {
      let running = this.#unpacking.get(layer.id);
      if (!running) {
        running = this.#unpackOne(layer, files[i]!, signal).finally(() => this.#unpacking.delete(layer.id));
        this.#unpacking.set(layer.id, running);
      }
      await running;
    }
  }

  async #unpackOne(ref: Ref, fetched: Promise<string>, signal: AbortSignal): Promise<void> {
    if (this.hasFolder(ref)) return;
    const upper =
      (await this.#applyGrowing(ref, fetched, signal)) ?? (await this.#apply(ref, await fetched, signal));
    try {
      await rename(join(this.#state.root, upper), join(this.#state.root, layerPath(ref.id)));
    } catch (error) {
      // another process was faster
      if (codeOf(error) !== "ENOTEMPTY" && codeOf(error) !== "EEXIST") throw error;
    } finally {
      await this.discard(upper);
    }
  }

  /**
   * Unpacks a blob that is on its way while it arrives.
   * @returns the folder; `undefined` if the blob is here, or its bytes turned out not to be right
   */
  async #applyGrowing(ref: Ref, fetched: Promise<string>, signal: AbortSignal): Promise<string | undefined> {
    const growing = this.#blobs.growing(ref.blob!.digest);
    if (growing === undefined) return undefined;
    const failed = new AbortController();
    fetched.catch((error: unknown) => failed.abort(error));
    const applied = this.#perform(
      ref,
      { file: this.#blobs.path(ref.blob!.digest), growing },
      AbortSignal.any([signal, failed.signal]),
    );
    const [upper] = await Promise.all([applied.catch(() => undefined), fetched]);
    return upper;
  }

  async #apply(ref: Ref, file: string, signal: AbortSignal): Promise<string> {
    try {
      return await this.#perform(ref, { file }, signal);
    } catch (error) {
      if (codeOf(error) === "BLOB_CORRUPT" || codeOf(error) === "LAYER_INVALID") {
        ref.isBroken = true;
        await this.#blobs.remove(ref.blob!.digest);
      }
      throw error;
    }
  }

  /** @returns a new folder with the layer's changes */
  async #perform(
    ref: Ref,
    source: { readonly file: string; readonly growing?: string },
    signal: AbortSignal,
  ): Promise<string> {
    const { mediaType, diffId } = ref.blob!;
    const { upper } = this.newFolders();
    const layers = ref.parent ? ref.parent.chain.map((layer) => layerPath(layer.id)) : [];
    try {
      await this.#worker.perform("apply", { ...source, mediaType, target: upper, layers, diffId }, signal);
      return upper;
    } catch (error) {
      await this.discard(upper);
      throw error;
    }
  }

  /** The blob of one layer on disk; what one provider can't give, the next is asked for. */
  async #fetch(ref: Ref, signal: AbortSignal): Promise<string> {
    const { blob } = ref;
    if (!blob)
      throw new BuildError("LAYER_LOST", `layer ${ref.id} (${ref.description}) has neither folder nor blob`);
    if (this.#blobs.has(blob.digest)) return this.#blobs.path(blob.digest);
    let lost = new BuildError(
      "LAYER_LOST",
      `blob ${blob.digest} is not here, and nothing says where it can be had`,
    );
    for (const provider of ref.providers) {
      try {
        return await this.#blobs.fetch(blob, provider, signal);
      } catch (error) {
        if (codeOf(error) !== "BLOB_UNAVAILABLE" && codeOf(error) !== "BLOB_CORRUPT") throw error;
        lost = error as BuildError;
        this.#failed.set(provider, (this.#failed.get(provider) ?? new Set()).add(blob.digest));
        ref.providers = ref.providers.filter((other) => other !== provider);
      }
    }
    throw lost;
  }

  /** The descriptors of all layers, lowest first; layers that were never packed are packed now. */
  async descriptors(
    ref: Ref | undefined,
    signal: AbortSignal,
    format: LayerFormat = DEFAULT_FORMAT,
  ): Promise<LayerDescriptor[]> {
    if (!ref) return [];
    return Promise.all(ref.chain.map((layer) => this.pack(layer, signal, format)));
  }

  /** The descriptor of one layer: as it was packed first, unless `format` forces another compression. */
  async pack(ref: Ref, signal: AbortSignal, format: LayerFormat = DEFAULT_FORMAT): Promise<LayerDescriptor> {
    const { compression, force } = format;
    if (ref.blob && (!force || compressionOf(ref.blob) === compression)) return ref.blob;
    const variant = ref.variants.find((one) => compressionOf(one) === compression);
    if (ref.blob && variant && this.#blobs.has(variant.digest)) return variant;
    const key = ref.blob ? `${ref.id} ${compression}` : String(ref.id);
    let running = this.#packing.get(key);
    if (!running) {
      const work = ref.blob ? this.#convertOne(ref, format, signal) : this.#packOne(ref, format, signal);
      running = work.finally(() => this.#packing.delete(key));
      this.#packing.set(key, running);
    }
    const packed = await running;
    // somebody else may have packed it first, in another way
    return force && compressionOf(packed) !== compression ? this.pack(ref, signal, format) : packed;
  }

  async #packOne(ref: Ref, format: LayerFormat, signal: AbortSignal): Promise<LayerDescriptor> {
    ref.blob = await this.#make(format, (file) =>
      this.#worker.perform("diff", this.#diffTask(ref, file, format, undefined), signal),
    );
    this.#save(ref);
    return ref.blob;
  }

  /** The layer's blob in another compression, next to the one it has. */
  async #convertOne(ref: Ref, format: LayerFormat, signal: AbortSignal): Promise<LayerDescriptor> {
    const source = await this.#fetch(ref, signal);
    const { mediaType, diffId } = ref.blob!;
    const { compression, level } = format;
    const variant = await this.#make(format, (file) =>
      this.#worker.perform("convert", { file, source, mediaType, diffId, compression, level }, signal),
    );
    ref.variants = [...ref.variants.filter((one) => compressionOf(one) !== compression), variant];
    this.#save(ref);
    return variant;
  }

  /** The layer with no time later than `clampTime` (seconds); not kept as the layer's blob. */
  async packClamped(
    ref: Ref,
    clampTime: number,
    signal: AbortSignal,
    format: LayerFormat = DEFAULT_FORMAT,
  ): Promise<LayerDescriptor> {
    await this.unpack(ref, signal);
    return this.#make(format, (file) =>
      this.#worker.perform("diff", this.#diffTask(ref, file, format, clampTime), signal),
    );
  }

  async #make(
    { compression }: LayerFormat,
    write: (file: string) => Promise<LayerBlob>,
  ): Promise<LayerDescriptor> {
    const file = this.#blobs.temporaryFile();
    const { digest, size, diffId, annotations } = await write(file);
    await this.#blobs.adopt(file, digest);
    const mediaType = layerMediaType(compression);
    return { mediaType, digest, size, diffId, ...(annotations && { annotations }) };
  }

  #diffTask(ref: Ref, file: string, { compression, level }: LayerFormat, clampTime: number | undefined) {
    return {
      layer: layerPath(ref.id),
      layers: ref.parent ? ref.parent.chain.map((layer) => layerPath(layer.id)) : [],
      file,
      compression,
      level,
      clampTime,
    };
  }

  /** A file with the blob of a packed layer. */
  async blobFile(descriptor: LayerDescriptor, ref: Ref | undefined, signal: AbortSignal): Promise<string> {
    if (this.#blobs.has(descriptor.digest) || !ref) return this.#blobs.path(descriptor.digest);
    return this.#fetch(ref, signal);
  }

  hasBlob(descriptor: LayerDescriptor): boolean {
    return this.#blobs.has(descriptor.digest);
  }

  #create(
    parent: Ref | undefined,
    blob: LayerDescriptor | undefined,
    description: string,
    createdAt: number,
  ): Ref {
    const record: LayerRecord = { parent: parent?.id, blob, createdAt, description };
    const id = this.#database.transaction(() => {
      const next = (this.#counters.get("layer") ?? 0) + 1;
      void this.#counters.put("layer", next);
      void this.#layers.put(String(next), record);
      return next;
    });
    const ref = new Ref(id, parent, record);
    this.#refs.set(id, ref);
    return ref;
  }

  #save({ id, parent, blob, variants, createdAt, description }: Ref): void {
    void this.#layers.put(String(id), {
      parent: parent?.id,
      blob,
      ...(variants.length > 0 && { variants }),
      createdAt,
      description,
    });
  }
}

/** Short, because the options of an overlay mount name every layer. */
function layerPath(id: number): string {
  return `s/${id}`;
}
