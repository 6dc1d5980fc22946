// Memory of parts of blobs, used again and again: 8 MiB that are waiting to be collected are 8 MiB that are missing.

export class PartMemory {
  readonly #unit: number;
  readonly #free: ArrayBufferLike[] = [];

  /** @param unit bytes of a part at most */
  constructor(unit: number) {
    this.#unit = unit;
  }

  /** Room for `size` bytes, with anything in it; what is no part's size is not kept here. */
  take(size: number): Buffer {
    if (size > this.#unit || size < this.#unit / 16) return Buffer.allocUnsafeSlow(size);
    return Buffer.from(this.#free.pop() ?? new ArrayBuffer(this.#unit), 0, size);
  }

  /** Nobody looks at it any more. */
  give({ buffer }: Buffer): void {
    if (buffer.byteLength === this.#unit) this.#free.push(buffer);
  }
}
