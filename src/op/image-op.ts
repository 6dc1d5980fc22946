// An image as a source: two keys, layers that are pulled only when their bytes are needed.
import { wrapError } from "../lib/index.js";
import type { Platform } from "../llb/index.js";
import type { CacheMap, Op } from "../solver/index.js";
import { ImageSource } from "../source/index.js";
import { sourceKey, type RefResult } from "./context.js";

export class ImageOp implements Op<RefResult> {
  readonly #reference: string;
  readonly #platform: Platform;
  readonly #images: ImageSource;
  readonly #limit: number | undefined;

  /** @param limit layers that are taken, the lowest first; `undefined`: all */
  constructor(reference: string, platform: Platform, images: ImageSource, limit: number | undefined) {
    this.#reference = reference;
    this.#platform = platform;
    this.#images = images;
    this.#limit = limit;
  }

  async cacheMaps(signal: AbortSignal): Promise<readonly CacheMap<RefResult>[]> {
    const source = await this.#images
      .resolve(this.#reference, this.#platform, signal)
      .catch((error: unknown) => {
        throw wrapError(error, "IMAGE_UNRESOLVED", "failed to load cache key");
      });
    return ImageSource.keys(source, this.#platform, this.#limit).map(sourceKey);
  }

  async run(_inputs: readonly RefResult[], signal: AbortSignal): Promise<readonly RefResult[]> {
    const source = await this.#images.resolve(this.#reference, this.#platform, signal);
    return [{ ref: this.#images.ref(source, this.#limit) }];
  }
}
