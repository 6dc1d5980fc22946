// Layers as blobs: packed from their folders once, in other compressions where those are forced.
import { rm } from "node:fs/promises";
import type { BlobStore } from "../content/index.js";
import type { LayerBlob } from "../layer/index.js";
import { Limiter, SharedWork } from "../lib/index.js";
import type { DiffTask, Worker } from "../worker/index.js";
import { compressionOf, DEFAULT_FORMAT, layerMediaType, type LayerFormat } from "./format.js";
import type { LayerTable } from "./layer-table.js";
import type { Ref } from "./ref.js";
import { layerPath } from "./layer-files.js";
import type { LayerDescriptor } from "./types.js";

export interface PackingOptions {
  readonly blobs: BlobStore;
  readonly worker: Worker;
  readonly table: LayerTable;
  /** a file with the blob that a layer has */
  readonly fetch: (ref: Ref, signal: AbortSignal) => Promise<string>;
}

export class Packing {
  readonly #options: PackingOptions;
  readonly #running = new SharedWork<string, LayerDescriptor>();
  /** each has a dozen megabytes of blocks in memory */
  readonly #threads: Limiter;

  constructor(options: PackingOptions) {
    this.#options = options;
    this.#threads = new Limiter(options.worker.fileThreads);
  }

  /** The descriptor of one layer: as it was packed first, unless `format` forces another compression. */
  async pack(ref: Ref, signal: AbortSignal, format: LayerFormat = DEFAULT_FORMAT): Promise<LayerDescriptor> {
    const { compression, force } = format;
    if (ref.blob && (!force || compressionOf(ref.blob) === compression)) return ref.blob;
    const variant = ref.variants.find((one) => compressionOf(one) === compression);
    if (ref.blob && variant && this.#options.blobs.has(variant.digest)) return variant;
    const key = ref.blob ? `${ref.id} ${compression}` : String(ref.id);
    const packed = await this.#running.run(key, signal, () =>
      ref.blob ? this.#convert(ref, format, signal) : this.#pack(ref, format, signal),
    );
    // somebody else may have packed it first, in another way
    return force && compressionOf(packed) !== compression ? this.pack(ref, signal, format) : packed;
  }

  async #pack(ref: Ref, format: LayerFormat, signal: AbortSignal): Promise<LayerDescriptor> {
    const { file, descriptor } = await this.#make(format, (path) =>
      this.#options.worker.perform("diff", diffTask(ref, path, format, undefined), signal),
    );
    this.#options.table.update(ref, () => {
      this.#options.blobs.adopt(file, descriptor.digest);
      ref.blob = descriptor;
    });
    return descriptor;
  }

  /** The layer's blob in another compression, next to the one it has. */
  async #convert(ref: Ref, format: LayerFormat, signal: AbortSignal): Promise<LayerDescriptor> {
    const source = await this.#options.fetch(ref, signal);
    const { mediaType, diffId } = ref.blob!;
    const { compression, level } = format;
    const { file, descriptor } = await this.#make(format, (path) =>
      this.#options.worker.perform(
        "convert",
        { file: path, source, mediaType, diffId, compression, level },
        signal,
      ),
    );
    this.#options.table.update(ref, () => {
      this.#options.blobs.adopt(file, descriptor.digest);
      ref.variants = [...ref.variants.filter((one) => compressionOf(one) !== compression), descriptor];
    });
    return descriptor;
  }

  /** The layer with no time later than `clampTime` (seconds); not kept as the layer's blob. */
  async packClamped(
    ref: Ref,
    clampTime: number,
    signal: AbortSignal,
    format: LayerFormat,
  ): Promise<LayerDescriptor> {
    const { file, descriptor } = await this.#make(format, (path) =>
      this.#options.worker.perform("diff", diffTask(ref, path, format, clampTime), signal),
    );
    this.#options.blobs.adopt(file, descriptor.digest);
    return descriptor;
  }

  async #make(
    { compression }: LayerFormat,
    write: (file: string) => Promise<LayerBlob>,
  ): Promise<{ file: string; descriptor: LayerDescriptor }> {
    const file = this.#options.blobs.temporaryFile();
    const { digest, size, diffId, annotations } = await this.#threads
      .run(() => write(file))
      .catch(async (error: unknown) => {
        await rm(file, { force: true });
        throw error;
      });
    const mediaType = layerMediaType(compression);
    return { file, descriptor: { mediaType, digest, size, diffId, ...(annotations && { annotations }) } };
  }
}

function diffTask(
  ref: Ref,
  file: string,
  { compression, level }: LayerFormat,
  clampTime: number | undefined,
): DiffTask {
  return {
    layer: layerPath(ref.id),
    layers: ref.parent ? ref.parent.chain.map((layer) => layerPath(layer.id)) : [],
    file,
    compression,
    level,
    clampTime,
  };
}
