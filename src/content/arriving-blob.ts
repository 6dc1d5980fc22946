// The file of a blob whose bytes come in any order. They are hashed in order: those that come in order at once, the
// others by reading them again, which costs less than keeping them in memory until it is their turn.
import { createHash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import type { Digest } from "../lib/index.js";
import type { BlobSink } from "./types.js";

/** Bytes that are read again at once. */
const PIECE = 512 << 10;

export class ArrivingBlob implements BlobSink {
  readonly #file: FileHandle;
  readonly #arrived: BigUint64Array;
  readonly #hash = createHash("sha256");
  /** bytes from the start on */
  #whole = 0;
  #hashed = 0;
  /** what is there beyond them: ends by starts */
  readonly #islands = new Map<number, number>();
  #isReading = false;
  #read = Promise.resolve();
  #failed: { readonly error: unknown } | undefined;

  /** @param arrived see `GrowingFile` */
  constructor(file: FileHandle, arrived: SharedArrayBuffer) {
    this.#file = file;
    this.#arrived = new BigUint64Array(arrived);
  }

  /** What failed here, if anything did: no fault of the place that the bytes come from. */
  get failed(): { readonly error: unknown } | undefined {
    return this.#failed;
  }

  async write(bytes: Uint8Array, offset: number): Promise<void> {
    try {
      const written = this.#write(bytes, offset);
      if (offset === this.#hashed && !this.#isReading) {
        this.#hash.update(bytes);
        this.#hashed += bytes.length;
      }
      await written;
    } catch (error) {
      this.#failed ??= { error };
      throw error;
    }
    this.#islands.set(offset, offset + bytes.length);
    this.#grow();
  }

  /** Once nothing more is written. */
  async digest(): Promise<{ readonly digest: Digest; readonly size: number }> {
    await this.#read;
    if (this.#failed) throw this.#failed.error;
    return { digest: `sha256:${this.#hash.digest("hex")}` as Digest, size: this.#hashed };
  }

  /** A full disk or a signal may cut a write short. */
  async #write(bytes: Uint8Array, offset: number): Promise<void> {
    for (let at = 0; at < bytes.length;)
      at += (await this.#file.write(bytes, at, bytes.length - at, offset + at)).bytesWritten;
  }

  #grow(): void {
    const before = this.#whole;
    for (let end = this.#islands.get(before); end !== undefined; end = this.#islands.get(end)) {
      this.#islands.delete(this.#whole);
      this.#whole = end;
    }
    if (this.#whole === before) return;
    Atomics.store(this.#arrived, 0, BigInt(this.#whole));
    if (this.#hashed < this.#whole && !this.#isReading) this.#read = this.#readAgain();
  }

  async #readAgain(): Promise<void> {
    this.#isReading = true;
    const piece = Buffer.allocUnsafeSlow(Math.min(PIECE, this.#whole - this.#hashed));
    try {
      while (this.#hashed < this.#whole) {
        const count = Math.min(piece.length, this.#whole - this.#hashed);
        const { bytesRead } = await this.#file.read(piece, 0, count, this.#hashed);
        if (bytesRead === 0) throw new Error("a blob's file is shorter than what was written to it");
        this.#hash.update(piece.subarray(0, bytesRead));
        this.#hashed += bytesRead;
      }
    } catch (error) {
      this.#failed ??= { error };
    } finally {
      this.#isReading = false;
    }
  }
}
