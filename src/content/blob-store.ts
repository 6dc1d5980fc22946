// Blobs in files named after their digest. A blob is either there as a whole or not at all: it is written to a file of
// its own first and renamed when its digest is right. Several processes may share the folder.
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from "node:fs";
import { open, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { BuildError, digestOf, hexOf, isDigest, messageOf, type Digest } from "../lib/index.js";
import { transfer, type Moved } from "../progress/index.js";
import { ArrivingBlob } from "./arriving-blob.js";
import type {
  BlobProvider,
  BlobSink,
  Descriptor,
  GrowingFile,
  PartsProvider,
  StreamProvider,
} from "./types.js";

/** A blob on its way. */
interface Transfer {
  readonly done: Promise<string>;
  readonly provider: BlobProvider;
  readonly signal: AbortSignal;
  readonly growing: GrowingFile;
}

/** Bytes that are written at once. */
const BATCH = 1 << 20;

let counter = 0;

export class BlobStore {
  readonly #root: string;
  readonly #temporary: string;
  readonly #stallTimeout: number;
  readonly #fetching = new Map<Digest, Transfer>();

  /**
   * @param temporary a folder on the same file system that nobody else writes to
   * @param stallTimeout milliseconds without a byte after which a transfer is given up
   */
  constructor(root: string, temporary: string, stallTimeout = 30_000) {
    this.#stallTimeout = stallTimeout;
    this.#root = join(root, "sha256");
    this.#temporary = temporary;
    mkdirSync(this.#root, { recursive: true });
  }

  path(digest: Digest): string {
    return join(this.#root, hexOf(digest));
  }

  has(digest: Digest): boolean {
    return existsSync(this.path(digest));
  }

  size(digest: Digest): number {
    return statSync(this.path(digest)).size;
  }

  async read(digest: Digest): Promise<Buffer> {
    return readFile(this.path(digest));
  }

  async write(data: Uint8Array): Promise<Digest> {
    const digest = digestOf(data);
    if (this.has(digest)) return digest;
    const file = this.temporaryFile();
    await writeFile(file, data);
    await rename(file, this.path(digest));
    return digest;
  }

  /** A file name for a blob whose digest is not known yet; see `adopt`. */
  temporaryFile(): string {
    return join(this.#temporary, `blob-${process.pid}-${++counter}`);
  }

  /** Takes over a finished file; its digest is the caller's word. At once, so that it can be part of a transaction. */
  adopt(file: string, digest: Digest): void {
    if (this.has(digest)) rmSync(file, { force: true });
    else renameSync(file, this.path(digest));
  }

  /** All blobs, with their sizes and the times they were written. */
  list(): readonly { readonly digest: Digest; readonly size: number; readonly writtenAt: number }[] {
    return readdirSync(this.#root).flatMap((name) => {
      const stat = statSync(join(this.#root, name), { throwIfNoEntry: false });
      const digest = `sha256:${name}`;
      return stat && isDigest(digest) ? [{ digest, size: stat.size, writtenAt: stat.mtimeMs }] : [];
    });
  }

  /** Forgets a blob whose bytes turned out to be wrong. */
  async remove(digest: Digest): Promise<void> {
    await rm(this.path(digest), { force: true });
  }

  /**
   * Makes sure the blob is here and gives its path. Several callers share one transfer.
   * @throws BuildError BLOB_CORRUPT if the bytes don't have the digest, BLOB_UNAVAILABLE if they don't come
   */
  async fetch(descriptor: Descriptor, provider: BlobProvider, signal: AbortSignal): Promise<string> {
    const { digest } = descriptor;
    for (let joined = this.#fetching.get(digest); joined; joined = this.#fetching.get(digest)) {
      try {
        return await joined.done;
      } catch (error) {
        // theirs was canceled, or came from a place that ours does not
        if (signal.aborted || (joined.provider === provider && !joined.signal.aborted)) throw error;
      }
    }
    if (this.has(digest)) return this.path(digest);
    const arrived = new SharedArrayBuffer(BigUint64Array.BYTES_PER_ELEMENT);
    const growing = { file: this.temporaryFile(), arrived };
    const done = transfer(digest, descriptor.size, (moved) =>
      this.#fetch(descriptor, provider, growing, moved, signal),
    ).finally(() => this.#fetching.delete(digest));
    this.#fetching.set(digest, { done, provider, signal, growing });
    return done;
  }

  /** A blob that is on its way. */
  growing(digest: Digest): GrowingFile | undefined {
    return this.#fetching.get(digest)?.growing;
  }

  async #fetch(
    descriptor: Descriptor,
    provider: BlobProvider,
    { file: temporary, arrived }: GrowingFile,
    moved: Moved,
    signal: AbortSignal,
  ): Promise<string> {
    const file = await open(temporary, "wx+");
    try {
      const blob = new ArrivingBlob(file, arrived);
      await receive(descriptor, provider, blob, moved, this.#stallTimeout, signal);
      const { digest, size } = await blob.digest();
      if (digest !== descriptor.digest) {
        provider.corrupt?.(descriptor);
        throw new BuildError(
          "BLOB_CORRUPT",
          `${provider.name}: unexpected commit digest ${digest}, expected ${descriptor.digest}: failed precondition (${size} bytes)`,
        );
      }
      await rename(temporary, this.path(descriptor.digest));
      return this.path(descriptor.digest);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    } finally {
      await file.close();
    }
  }
}

/** Has a blob's bytes put into `blob`; what fails on their way is told apart from what fails on this machine. */
async function receive(
  descriptor: Descriptor,
  provider: BlobProvider,
  blob: ArrivingBlob,
  moved: Moved,
  stallTimeout: number,
  signal: AbortSignal,
): Promise<void> {
  try {
    if ("open" in provider) await receiveStream(descriptor, provider, blob, moved, stallTimeout, signal);
    else await receiveParts(descriptor, provider, blob, moved, signal);
  } catch (error) {
    if (blob.failed) throw blob.failed.error;
    if (signal.aborted) throw error;
    throw new BuildError("BLOB_UNAVAILABLE", messageOf(error), { cause: error });
  }
}

async function receiveStream(
  descriptor: Descriptor,
  provider: StreamProvider,
  blob: ArrivingBlob,
  moved: Moved,
  stallTimeout: number,
  signal: AbortSignal,
): Promise<void> {
  const stalled = new AbortController();
  const give = (): void =>
    stalled.abort(new Error(`${provider.name}: no bytes of ${descriptor.digest} for a while`));
  const timer = setTimeout(give, stallTimeout);
  const batch = new Batch(blob);
  try {
    const stream = await provider.open(descriptor, AbortSignal.any([signal, stalled.signal]));
    for await (const chunk of stream) {
      moved(chunk.length);
      await batch.add(chunk);
      timer.refresh();
    }
    await batch.flush();
  } catch (error) {
    throw stalled.signal.aborted ? stalled.signal.reason : error;
  } finally {
    clearTimeout(timer);
  }
}

async function receiveParts(
  descriptor: Descriptor,
  provider: PartsProvider,
  blob: ArrivingBlob,
  moved: Moved,
  signal: AbortSignal,
): Promise<void> {
  const failed = new AbortController();
  const write = async (bytes: Uint8Array, offset: number): Promise<void> => {
    moved(bytes.length);
    try {
      await blob.write(bytes, offset);
    } catch (error) {
      failed.abort(error);
      throw error;
    }
  };
  await provider.fetch(descriptor, { write }, AbortSignal.any([signal, failed.signal]));
}

/** Pieces in order: small ones are written many at once. */
class Batch {
  readonly #sink: BlobSink;
  readonly #small = Buffer.allocUnsafeSlow(BATCH);
  #size = 0;
  #offset = 0;

  constructor(sink: BlobSink) {
    this.#sink = sink;
  }

  /** Once it is done, `piece` may be used for something else. */
  async add(piece: Uint8Array): Promise<void> {
    if (this.#size + piece.length > BATCH) await this.flush();
    if (piece.length > BATCH) return this.#write(piece);
    this.#small.set(piece, this.#size);
    this.#size += piece.length;
  }

  async flush(): Promise<void> {
    const size = this.#size;
    this.#size = 0;
    await this.#write(this.#small.subarray(0, size));
  }

  async #write(bytes: Uint8Array): Promise<void> {
    const offset = this.#offset;
    this.#offset += bytes.length;
    await this.#sink.write(bytes, offset);
  }
}
