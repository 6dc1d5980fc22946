// containerd's content service over OCI layouts of this machine: images that a build starts from, caches it imports and
// exports, outputs that are folders.
import { createHash } from "node:crypto";
import { createReadStream, statSync } from "node:fs";
import { open, rm, type FileHandle } from "node:fs/promises";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { DiskStore } from "../../cache/index.js";
import { isDigest, type Digest } from "../../lib/index.js";
import {
  InfoRequestSchema,
  InfoResponseSchema,
  ReadContentRequestSchema,
  ReadContentResponseSchema,
  WriteAction,
  WriteContentRequestSchema,
  WriteContentResponseSchema,
  type WriteContentRequest,
} from "../gen/containerd/content_pb.js";
import { unary, type Handler, type ServedCall } from "../grpc.js";

/** By id: "oci:NAME", "local:FOLDER", "export". */
export type Stores = ReadonlyMap<string, DiskStore>;

const SERVICE = "/containerd.services.content.v1.Content";

export function contentHandlers(stores: Stores): readonly (readonly [string, Handler])[] {
  const storeOf = (call: ServedCall): DiskStore => {
    const id = call.values("buildkit-attachable-store-id")[0] ?? "";
    const store = stores.get(id);
    if (!store) throw new ConnectError(`unknown store ${id}`, Code.NotFound);
    return store;
  };
  return [
    [
      `${SERVICE}/Info`,
      unary(InfoRequestSchema, InfoResponseSchema, async ({ digest }, call) => {
        const size = sizeOf(storeOf(call), checked(digest));
        return { info: { digest, size: BigInt(size) } };
      }),
    ],
    [`${SERVICE}/Read`, (call) => read(call, storeOf)],
    [`${SERVICE}/Write`, (call) => new Ingest(storeOf(call)).run(call)],
  ];
}

function checked(digest: string): Digest {
  if (!isDigest(digest)) throw new ConnectError(`invalid digest ${digest}`, Code.InvalidArgument);
  return digest;
}

function sizeOf(store: DiskStore, digest: Digest): number {
  const stat = statSync(store.path(digest), { throwIfNoEntry: false });
  if (!stat) throw new ConnectError(`content ${digest}: not found`, Code.NotFound);
  return stat.size;
}

async function read(call: ServedCall, storeOf: (call: ServedCall) => DiskStore): Promise<void> {
  await call.read(async (message) => {
    const { digest, offset, size } = fromBinary(ReadContentRequestSchema, message);
    const store = storeOf(call);
    const [start, count] = [Number(offset), Number(size)];
    if (sizeOf(store, checked(digest)) === 0) return;
    const range = { start, ...(count > 0 && { end: start + count - 1 }), highWaterMark: 1 << 20 };
    let at = start;
    for await (const data of createReadStream(store.path(checked(digest)), range) as AsyncIterable<Buffer>) {
      const part = create(ReadContentResponseSchema, { offset: BigInt(at), data });
      await call.send(toBinary(ReadContentResponseSchema, part));
      at += data.length;
    }
    call.end();
  });
}

/** A blob that is being written. */
class Ingest {
  readonly #store: DiskStore;
  readonly #hash = createHash("sha256");
  #path = "";
  #file: FileHandle | undefined;
  #offset = 0;

  constructor(store: DiskStore) {
    this.#store = store;
  }

  async run(call: ServedCall): Promise<void> {
    try {
      await call.read(async (message) => {
        const request = fromBinary(WriteContentRequestSchema, message);
        const digest = await this.#take(request);
        const answer = create(WriteContentResponseSchema, {
          action: request.action,
          offset: BigInt(this.#offset),
          total: request.total,
          digest: digest ?? "",
        });
        await call.send(toBinary(WriteContentResponseSchema, answer));
      });
    } finally {
      await this.#file?.close();
      if (this.#path !== "") await rm(this.#path, { force: true });
    }
  }

  /** @returns the digest of what is complete */
  async #take({ action, expected, offset, data, total }: WriteContentRequest): Promise<Digest | undefined> {
    if (expected !== "" && (await this.#store.has(checked(expected))))
      throw new ConnectError(`content ${expected}: already exists`, Code.AlreadyExists);
    if (action === WriteAction.STAT) return undefined;
    this.#path ||= await this.#store.newFile();
    this.#file ??= await open(this.#path, "w+");
    if (data.length > 0) {
      if (Number(offset) !== this.#offset)
        throw new ConnectError(`unexpected offset ${offset}, want ${this.#offset}`, Code.OutOfRange);
      await this.#file.writeFile(data);
      this.#hash.update(data);
      this.#offset += data.length;
    }
    if (action !== WriteAction.COMMIT) return undefined;
    if (total > 0n && Number(total) !== this.#offset)
      throw new ConnectError(`${this.#offset} bytes came, not ${total}`, Code.FailedPrecondition);
    const digest = `sha256:${this.#hash.digest("hex")}` as Digest;
    if (expected !== "" && digest !== expected)
      throw new ConnectError(`unexpected digest ${digest}, want ${expected}`, Code.FailedPrecondition);
    await this.#store.adopt(this.#path, digest);
    this.#path = "";
    return digest;
  }
}
