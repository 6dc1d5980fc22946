// Blobs that a client keeps: OCI layouts it builds from, local caches it imports and exports. containerd's content API
// through the tunnel.
import { createReadStream } from "node:fs";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { OciStore } from "../../cache/index.js";
import type { Descriptor } from "../../content/index.js";
import { BuildError, digestOf, type Digest } from "../../lib/index.js";
import {
  InfoRequestSchema,
  InfoResponseSchema,
  ReadContentRequestSchema,
  ReadContentResponseSchema,
  WriteAction,
  WriteContentRequestSchema,
  WriteContentResponseSchema,
} from "../gen/containerd/content_pb.js";
import type { Channel } from "../grpc.js";

const SERVICE = "/containerd.services.content.v1.Content";
/** Bytes of one message. */
const CHUNK = 1 << 20;
const NO_BYTES = new Uint8Array();

export class ClientStore implements OciStore {
  readonly name: string;
  readonly #channel: Channel;
  readonly #metadata: Readonly<Record<string, readonly string[]>>;
  readonly #signal: AbortSignal;
  readonly #tagged: (descriptor: Descriptor) => void;

  /**
   * @param id which of the client's stores: "oci:NAME", "local:FOLDER"
   * @param tagged is told of manifests: the client keeps the index itself
   */
  constructor(channel: Channel, id: string, signal: AbortSignal, tagged: (descriptor: Descriptor) => void) {
    this.name = id;
    this.#channel = channel;
    this.#metadata = { "buildkit-attachable-store-id": [id] };
    this.#signal = signal;
    this.#tagged = tagged;
  }

  async tagged(): Promise<Digest> {
    throw new BuildError("CACHE_NOT_FOUND", `${this.name}: the client named no manifest`);
  }

  async read(digest: Digest): Promise<Buffer> {
    const chunks: Uint8Array[] = [];
    for await (const chunk of this.#read(digest, this.#signal)) chunks.push(chunk);
    const data = Buffer.concat(chunks);
    if (digestOf(data) !== digest)
      throw new BuildError("BLOB_CORRUPT", `${this.name}: blob ${digest} has another content`);
    return data;
  }

  async open({ digest }: Descriptor, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    return this.#read(digest, signal);
  }

  async *#read(digest: Digest, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const call = this.#channel.open(`${SERVICE}/Read`, this.#metadata, signal);
    await call.send(toBinary(ReadContentRequestSchema, create(ReadContentRequestSchema, { digest })));
    call.end();
    const chunks: Uint8Array[] = [];
    let [wake, resume] = [(): void => undefined, (): void => undefined];
    let isDone = false;
    const ended = call
      .read((message) => {
        chunks.push(fromBinary(ReadContentResponseSchema, message).data);
        wake();
        return new Promise<void>((resolve) => (resume = resolve));
      })
      .finally(() => {
        isDone = true;
        wake();
      });
    ended.catch(() => undefined);
    try {
      while (!isDone || chunks.length > 0) {
        const chunk = chunks.shift();
        if (chunk) yield chunk;
        else {
          resume();
          await new Promise<void>((resolve) => (wake = resolve));
        }
      }
      await ended;
    } finally {
      if (!isDone) call.cancel();
    }
  }

  async has(digest: Digest): Promise<boolean> {
    try {
      await this.#channel.unary(
        `${SERVICE}/Info`,
        InfoRequestSchema,
        InfoResponseSchema,
        { digest },
        this.#signal,
        this.#metadata,
      );
      return true;
    } catch (error) {
      if (error instanceof ConnectError && error.code === Code.NotFound) return false;
      throw error;
    }
  }

  async putFile(descriptor: Descriptor, file: string): Promise<void> {
    await this.#write(descriptor, createReadStream(file, { highWaterMark: CHUNK }));
  }

  async putData(descriptor: Descriptor, data: Uint8Array): Promise<void> {
    if (!(await this.has(descriptor.digest))) await this.#write(descriptor, [data]);
  }

  async #write(
    { digest, size }: Descriptor,
    chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  ): Promise<void> {
    const call = this.#channel.open(`${SERVICE}/Write`, this.#metadata, this.#signal);
    let committed = false;
    const ended = call.read((message) => {
      committed ||= fromBinary(WriteContentResponseSchema, message).action === WriteAction.COMMIT;
      if (committed) call.end();
    });
    ended.catch(() => undefined);
    const about = { ref: `bluekiln-${digest}`, total: BigInt(size), expected: digest };
    const send = (action: WriteAction, offset: number, data: Uint8Array = NO_BYTES): Promise<void> => {
      const message = create(WriteContentRequestSchema, {
        ...about,
        action,
        offset: BigInt(offset),
        data: data,
      });
      return call.send(toBinary(WriteContentRequestSchema, message));
    };
    let offset = 0;
    for await (const chunk of chunks) {
      await send(WriteAction.WRITE, offset, chunk);
      offset += chunk.length;
    }
    await send(WriteAction.COMMIT, offset);
    try {
      await ended;
    } catch (error) {
      if (!(error instanceof ConnectError && error.code === Code.AlreadyExists)) throw error;
    }
  }

  async tag(descriptor: Descriptor): Promise<void> {
    this.#tagged(descriptor);
  }
}
