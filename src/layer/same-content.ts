// Whether two files say the same.
import { closeSync, openSync, readSync } from "node:fs";
import { fsPath, type BytePath } from "../linux/index.js";

const SIZE = 256 << 10;
const BUFFERS = [Buffer.allocUnsafeSlow(SIZE), Buffer.allocUnsafeSlow(SIZE)] as const;

/** Of two files of one size. */
export function sameContent(a: BytePath, b: BytePath): boolean {
  using first = new OpenFile(a, BUFFERS[0]);
  using second = new OpenFile(b, BUFFERS[1]);
  for (;;) {
    const [chunk, other] = [first.read(), second.read()];
    if (!chunk.equals(other)) return false;
    if (chunk.length < SIZE) return true;
  }
}

class OpenFile implements Disposable {
  readonly #fd: number;
  readonly #buffer: Buffer;

  constructor(path: BytePath, buffer: Buffer) {
    this.#fd = openSync(fsPath(path), "r");
    this.#buffer = buffer;
  }

  /** The next bytes, shorter only at the end; they stay until the next call. */
  read(): Buffer {
    let size = 0;
    for (let count = -1; count !== 0 && size < SIZE; size += count)
      count = readSync(this.#fd, this.#buffer, size, SIZE - size, null);
    return this.#buffer.subarray(0, size);
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }
}
