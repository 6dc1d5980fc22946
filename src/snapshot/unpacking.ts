// Blobs as folders: fetched and unpacked side by side, those that are on their way while they arrive.
import { rename } from "node:fs/promises";
import { join } from "node:path";
import type { BlobStore, GrowingFile, StateDir } from "../content/index.js";
import { codeOf, Limiter, SharedWork } from "../lib/index.js";
import type { Worker } from "../worker/index.js";
import type { Ref } from "./ref.js";
import { layerPath } from "./layer-files.js";

export interface UnpackingOptions {
  readonly state: StateDir;
  readonly blobs: BlobStore;
  readonly worker: Worker;
  /** a file with the blob that a layer has */
  readonly fetch: (ref: Ref, signal: AbortSignal) => Promise<string>;
  readonly refs: LayerFolders;
}

/** Where layers have their folders; all paths are relative to the state folder. */
export interface LayerFolders {
  hasFolder(ref: Ref): boolean;
  newFolders(): { readonly upper: string };
  discard(upper: string): Promise<void>;
}

/** A layer's changes in a new folder. */
interface Unpacked {
  readonly folder: string;
  /** see `AppliedLayer` */
  readonly implied: readonly string[];
}

export class Unpacking {
  readonly #state: StateDir;
  readonly #blobs: BlobStore;
  readonly #worker: Worker;
  readonly #fetch: UnpackingOptions["fetch"];
  readonly #refs: LayerFolders;
  readonly #running = new SharedWork<number, void>();

  constructor({ state, blobs, worker, fetch, refs }: UnpackingOptions) {
    this.#state = state;
    this.#blobs = blobs;
    this.#worker = worker;
    this.#fetch = fetch;
    this.#refs = refs;
  }

  /** Makes sure that every layer of `ref` has its folder. */
  async unpack(ref: Ref, signal: AbortSignal): Promise<void> {
    const missing = ref.chain.filter((layer) => !this.#refs.hasFolder(layer));
    const failed = new AbortController();
    const during = AbortSignal.any([signal, failed.signal]);
    // of its own: who waits for a slow line keeps nobody else waiting
    const threads = new Limiter(this.#worker.fileThreads);
    const unpacked: Promise<void>[] = [];
    for (const layer of missing) {
      const fetched = this.#fetch(layer, signal);
      fetched.catch(() => undefined);
      const below = unpacked.at(-1);
      const apply = (): Promise<Unpacked> => threads.run(() => this.#apply(layer, fetched, during));
      unpacked.push(this.#running.run(layer.id, during, () => this.#unpackOne(layer, apply, below, during)));
    }
    try {
      await Promise.all(unpacked);
    } catch (error) {
      failed.abort(error);
      await Promise.allSettled(unpacked);
      throw error;
    }
  }

  /** @param below until the layers below have their folders: no layer has one before */
  async #unpackOne(
    ref: Ref,
    apply: () => Promise<Unpacked>,
    below: Promise<void> | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    if (this.#refs.hasFolder(ref)) return;
    const { folder, implied } = await apply();
    try {
      await below;
      if (implied.length > 0) {
        const layers = ref.parent ? ref.parent.chain.map((layer) => layerPath(layer.id)) : [];
        await this.#worker.perform("inherit", { target: folder, layers, names: implied }, signal);
      }
      await rename(join(this.#state.root, folder), join(this.#state.root, layerPath(ref.id)));
    } catch (error) {
      // another process was faster
      if (codeOf(error) !== "ENOTEMPTY" && codeOf(error) !== "EEXIST") throw error;
    } finally {
      await this.#refs.discard(folder);
    }
  }

  async #apply(ref: Ref, fetched: Promise<string>, signal: AbortSignal): Promise<Unpacked> {
    const unpacked = await this.#applyGrowing(ref, fetched, signal);
    return unpacked ?? this.#applyFile(ref, await fetched, signal);
  }

  /**
   * Unpacks a blob that is on its way while it arrives.
   * @returns `undefined` if the blob is here, or its bytes turned out not to be right
   */
  async #applyGrowing(
    ref: Ref,
    fetched: Promise<string>,
    signal: AbortSignal,
  ): Promise<Unpacked | undefined> {
    const growing = this.#blobs.growing(ref.blob!.digest);
    if (growing === undefined) return undefined;
    const failed = new AbortController();
    fetched.catch((error: unknown) => failed.abort(error));
    const applied = this.#perform(
      ref,
      { file: this.#blobs.path(ref.blob!.digest), growing },
      AbortSignal.any([signal, failed.signal]),
    );
    const [unpacked] = await Promise.all([applied.catch(() => undefined), fetched]);
    return unpacked;
  }

  async #applyFile(ref: Ref, file: string, signal: AbortSignal): Promise<Unpacked> {
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

  async #perform(
    ref: Ref,
    source: { readonly file: string; readonly growing?: GrowingFile },
    signal: AbortSignal,
  ): Promise<Unpacked> {
    const { mediaType, diffId } = ref.blob!;
    const { upper: folder } = this.#refs.newFolders();
    try {
      const task = { ...source, mediaType, target: folder, diffId };
      const { implied } = await this.#worker.perform("apply", task, signal);
      return { folder, implied };
    } catch (error) {
      await this.#refs.discard(folder);
      throw error;
    }
  }
}
