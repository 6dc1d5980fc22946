// zstd decompression where Node has none of its own (before 22.15).
import { Transform, type TransformCallback } from "node:stream";
import { Decompress } from "fzstd";

export class ZSTDDecompress extends Transform {
  readonly #decoder = new Decompress((data) => this.push(Buffer.from(data)));

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    try {
      this.#decoder.push(chunk);
      done();
    } catch (error) {
      done(error as Error);
    }
  }

  override _flush(done: TransformCallback): void {
    try {
      this.#decoder.push(new Uint8Array(0), true);
      done();
    } catch (error) {
      done(error as Error);
    }
  }
}
