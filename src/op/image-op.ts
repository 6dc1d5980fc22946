// An image as a source: two keys, layers that are pulled only when their bytes are needed.
import { BuildError, wrapError, type Digest } from "../lib/index.js";
import type { Platform } from "../llb/index.js";
import type { CacheMap, Op } from "../solver/index.js";
import { ImageSource } from "../source/index.js";
import { sourceKey, type RefResult } from "./context.js";

export interface ImageWish {
  /** layers that are taken, the lowest first; `undefined`: all */
  readonly limit: number | undefined;
  /** what the image has to be */
  readonly checksum: Digest | undefined;
}

export class ImageOp implements Op<RefResult> {
  readonly #reference: string;
  readonly #platform: Platform;
  readonly #images: ImageSource;
  readonly #limit: number | undefined;
  readonly #checksum: Digest | undefined;

  constructor(reference: string, platform: Platform, images: ImageSource, { limit, checksum }: ImageWish) {
    this.#reference = reference;
    this.#platform = platform;
    this.#images = images;
    this.#limit = limit;
    this.#checksum = checksum;
  }

  async cacheMaps(signal: AbortSignal): Promise<readonly CacheMap<RefResult>[]> {
    const source = await this.#images
      .resolve(this.#reference, this.#platform, signal)
      .catch((error: unknown) => {
        throw wrapError(error, "IMAGE_UNRESOLVED", "failed to load cache key");
      });
    if (this.#checksum !== undefined && source.digest !== this.#checksum)
      throw new BuildError(
        "CHECKSUM_MISMATCH",
        `failed to load cache key: image digest ${source.digest} for ${this.#reference} does not match expected checksum ${this.#checksum}`,
      );
    return ImageSource.keys(source, this.#platform, this.#limit).map(sourceKey);
  }

  async run(_inputs: readonly RefResult[], signal: AbortSignal): Promise<readonly RefResult[]> {
    const source = await this.#images.resolve(this.#reference, this.#platform, signal);
    return [{ ref: this.#images.ref(source, this.#limit) }];
  }
}
