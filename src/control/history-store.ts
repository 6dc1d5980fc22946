// The history's folder: a file for each build that has ended, and the blobs that belong to it. One daemon has it at a
// time, so what is in it is read once.
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { BuildError, digestOf, hexOf, isDigest, type Digest } from "../lib/index.js";
import { tryLock } from "../linux/index.js";
import {
  BuildHistoryRecordSchema,
  DescriptorSchema,
  type BuildHistoryRecord,
  type Descriptor,
} from "./gen/buildkit/control_pb.js";

export class HistoryStore {
  readonly #recordFolder: string;
  readonly #blobFolder: string;
  readonly #lock: number;
  readonly #records = new Map<string, BuildHistoryRecord>();
  /** how many times records name a blob */
  readonly #uses = new Map<Digest, number>();

  /** @param folder of its own; it is made @throws BuildError HISTORY_LOCKED if another daemon has it */
  constructor(folder: string) {
    this.#recordFolder = join(folder, "records");
    this.#blobFolder = join(folder, "blobs");
    mkdirSync(this.#recordFolder, { recursive: true });
    mkdirSync(this.#blobFolder, { recursive: true });
    this.#lock = openSync(folder, "r");
    if (!tryLock(this.#lock)) {
      closeSync(this.#lock);
      throw new BuildError("HISTORY_LOCKED", `could not lock ${folder}, another instance running?`);
    }
    for (const name of readdirSync(this.#recordFolder)) {
      const record = this.#read(name);
      if (record) this.#add(record);
    }
    for (const digest of this.blobs()) if (!this.#uses.has(digest)) this.#removeBlob(digest);
  }

  close(): void {
    closeSync(this.#lock);
  }

  /** As they were put. */
  all(): BuildHistoryRecord[] {
    return [...this.#records.values()];
  }

  get(ref: string): BuildHistoryRecord | undefined {
    return this.#records.get(ref);
  }

  /** Takes the place of the record with the same reference. */
  put(record: BuildHistoryRecord): void {
    const path = this.#path(record.Ref);
    writeFileSync(`${path}.new`, toBinary(BuildHistoryRecordSchema, record));
    renameSync(`${path}.new`, path);
    const before = this.#records.get(record.Ref);
    this.#add(record);
    if (before) this.#release(before);
  }

  /** @returns what it was; its blobs go, unless others have them as well */
  remove(ref: string): BuildHistoryRecord | undefined {
    const record = this.#records.get(ref);
    if (!record) return undefined;
    rmSync(this.#path(ref), { force: true });
    this.#records.delete(ref);
    this.#release(record);
    return record;
  }

  /** A blob for a record that is put next. */
  write(mediaType: string, data: Buffer): Descriptor {
    const digest = digestOf(data);
    writeFileSync(join(this.#blobFolder, hexOf(digest)), data);
    return create(DescriptorSchema, { mediaType, digest, size: BigInt(data.length) });
  }

  blob(digest: Digest): Buffer | undefined {
    try {
      return readFileSync(join(this.#blobFolder, hexOf(digest)));
    } catch {
      return undefined;
    }
  }

  blobs(): readonly Digest[] {
    return readdirSync(this.#blobFolder).map((name) => `sha256:${name}` as Digest);
  }

  #add(record: BuildHistoryRecord): void {
    this.#records.set(record.Ref, record);
    for (const digest of blobsOf(record)) this.#uses.set(digest, (this.#uses.get(digest) ?? 0) + 1);
  }

  #release(record: BuildHistoryRecord): void {
    for (const digest of blobsOf(record)) {
      const left = this.#uses.get(digest)! - 1;
      if (left > 0) this.#uses.set(digest, left);
      else {
        this.#uses.delete(digest);
        this.#removeBlob(digest);
      }
    }
  }

  #removeBlob(digest: Digest): void {
    rmSync(join(this.#blobFolder, hexOf(digest)), { force: true });
  }

  #path(ref: string): string {
    return join(this.#recordFolder, safeName(ref));
  }

  /** @returns `undefined` if a process that was killed has left it half written */
  #read(name: string): BuildHistoryRecord | undefined {
    const path = join(this.#recordFolder, name);
    try {
      const record = fromBinary(BuildHistoryRecordSchema, readFileSync(path));
      if (safeName(record.Ref) === name) return record;
    } catch {
      // it goes
    }
    rmSync(path, { force: true });
    return undefined;
  }
}

function blobsOf({ logs, trace, externalError, Result }: BuildHistoryRecord): Digest[] {
  return [logs, trace, externalError, ...(Result?.Attestations ?? [])].flatMap((blob) =>
    blob && isDigest(blob.digest) ? [blob.digest] : [],
  );
}

/** References are a client's: they name a file, and nothing else. */
function safeName(ref: string): string {
  return /^[A-Za-z0-9_-]{1,100}$/.test(ref) ? ref : hexOf(digestOf(ref));
}
