// All layers of a state folder. Folders are immutable once they stand under their id; a folder is made elsewhere and
// renamed, so that a killed process never leaves half of one.
import { existsSync, mkdirSync } from "node:fs";
import { link, mkdir, rename, rm, symlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { BuildError, codeOf, type Digest } from "../lib/index.js";
import type { BlobProvider, BlobStore, Database, StateDir } from "../content/index.js";
import type { Tree, Worker } from "../worker/index.js";
import { Activity } from "./activity.js";
import { DEFAULT_FORMAT, type LayerFormat } from "./format.js";
import { chainIdOf, LayerTable } from "./layer-table.js";
import { Packing } from "./packing.js";
import type { Ref } from "./ref.js";
import { keptDigestsPath, layerPath, listingPath } from "./layer-files.js";
import type { LayerDescriptor, LayerKind, RemoteLayer } from "./types.js";
import { Unpacking } from "./unpacking.js";

export interface RefStoreOptions {
  readonly state: StateDir;
  readonly database: Database;
  readonly blobs: BlobStore;
  readonly worker: Worker;
}

export class RefStore {
  readonly table: LayerTable;
  readonly activity: Activity;
  readonly #state: StateDir;
  readonly #blobs: BlobStore;
  readonly #packing: Packing;
  readonly #unpacking: Unpacking;
  /** blobs that a provider could not give, though it should have them */
  readonly #failed = new WeakMap<BlobProvider, Set<Digest>>();
  #active = 0;

  constructor({ state, database, blobs, worker }: RefStoreOptions) {
    this.#state = state;
    this.#blobs = blobs;
    this.activity = new Activity(state, database);
    this.table = new LayerTable(database, this.activity);
    const fetch = (ref: Ref, signal: AbortSignal): Promise<string> => this.#fetch(ref, signal);
    this.#packing = new Packing({ blobs, worker, table: this.table, fetch });
    this.#unpacking = new Unpacking({ state, blobs, worker, fetch, refs: this });
    mkdirSync(join(state.root, "s"), { recursive: true });
  }

  /** The result with this id, if it is known. */
  get(id: number): Ref | undefined {
    return this.table.get(id);
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

  /** To read a result. */
  async tree(ref: Ref | undefined, signal: AbortSignal): Promise<Tree> {
    const layers = await this.folders(ref, signal);
    const isWhole = ref !== undefined && !ref.parent && ref.kind !== "regular";
    return isWhole ? { kind: "whole", layer: layers[0]! } : { kind: "layers", layers };
  }

  /** What is kept of digests of one layer's files is of use to another, which shares files with it. */
  async shareDigests(from: Ref, to: Ref): Promise<void> {
    const [old, own] = [from, to].map(({ id }) => join(this.#state.root, keptDigestsPath(id)));
    await link(old!, own!).catch(() => undefined);
  }

  /** Two folders for changes on top of a result, and a file for what is told of them; relative to the state folder. */
  newFolders(): { upper: string; work: string; listing: string } {
    const base = `${this.#state.own.slice(this.#state.root.length + 1)}/a${++this.#active}`;
    mkdirSync(join(this.#state.root, base, "fs"), { recursive: true });
    return { upper: `${base}/fs`, work: `${base}/work`, listing: `${base}/listing` };
  }

  /** Makes the changes in `upper` a layer on top of `parent`. */
  async commit(
    upper: string,
    parent: Ref | undefined,
    description: string,
    kind: LayerKind = "regular",
  ): Promise<Ref> {
    const record = { blob: undefined, description, createdAt: Date.now(), kind };
    const ref = this.table.create({ parent, record });
    const folder = join(this.#state.root, upper);
    if (kind === "source.local") await this.#keepListing(folder, ref);
    await rename(folder, join(this.#state.root, layerPath(ref.id)));
    await this.discard(upper);
    return ref;
  }

  /** Without it the folder is sent anew the next time. */
  async #keepListing(folder: string, { id }: Ref): Promise<void> {
    const path = join(this.#state.root, listingPath(id));
    await mkdir(dirname(path), { recursive: true })
      .then(() => rename(join(folder, "..", "listing"), path))
      .catch(() => undefined);
  }

  /** Forgets changes that did not become a layer. */
  async discard(upper: string): Promise<void> {
    await rm(join(this.#state.root, upper, ".."), { recursive: true, force: true });
  }

  /**
   * The changes of one layer on top of another result: same blob, and the same folder if that says no more than the blob
   * does. What a step wrote over others may: folders that it only went through, files that are as they were, and folders
   * that hide all below them.
   */
  async stack(layer: Ref, parent: Ref | undefined, signal: AbortSignal): Promise<Ref> {
    await this.unpack(layer, signal);
    const blob = await this.pack(layer, signal);
    const { description, createdAt, variants } = layer;
    const record = { blob, variants, description, createdAt, isUnpacked: true };
    const ref = this.table.create({ parent, origin: layer, record });
    ref.providers = layer.providers;
    if (layer.isUnpacked || !layer.parent)
      await symlink(String(layer.id), join(this.#state.root, layerPath(ref.id)));
    else await this.unpack(ref, signal);
    return ref;
  }

  /** A result made of blobs; nothing is fetched. Equal chains are one result. */
  fromRemote(layers: readonly RemoteLayer[], description: string): Ref | undefined {
    let ref: Ref | undefined;
    let chainId: Digest | undefined;
    for (const { descriptor, provider, createdAt, description: own } of layers) {
      chainId = chainIdOf(chainId, descriptor);
      const record = {
        blob: descriptor,
        description: own ?? description,
        createdAt: createdAt ?? Date.now(),
        isUnpacked: true,
      };
      ref = this.table.chained(chainId, { parent: ref, record });
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

  /** Makes sure that every layer of `ref` has its folder. */
  unpack(ref: Ref, signal: AbortSignal): Promise<void> {
    return this.#unpacking.unpack(ref, signal);
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
  pack(ref: Ref, signal: AbortSignal, format: LayerFormat = DEFAULT_FORMAT): Promise<LayerDescriptor> {
    return this.#packing.pack(ref, signal, format);
  }

  /** The layer with no time later than `clampTime` (seconds); not kept as the layer's blob. */
  async packClamped(
    ref: Ref,
    clampTime: number,
    signal: AbortSignal,
    format: LayerFormat = DEFAULT_FORMAT,
  ): Promise<LayerDescriptor> {
    // on top of others a layer says what it said where it was made
    let made = ref;
    while (made.origin) made = made.origin;
    await this.unpack(made, signal);
    return this.#packing.packClamped(made, clampTime, signal, format);
  }

  /** A file with the blob of a packed layer. */
  async blobFile(descriptor: LayerDescriptor, ref: Ref | undefined, signal: AbortSignal): Promise<string> {
    if (this.#blobs.has(descriptor.digest) || !ref) return this.#blobs.path(descriptor.digest);
    return this.#fetch(ref, signal);
  }

  hasBlob(descriptor: LayerDescriptor): boolean {
    return this.#blobs.has(descriptor.digest);
  }
}
