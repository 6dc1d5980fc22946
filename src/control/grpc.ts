// gRPC as far as the hot paths need it: messages in their frames, calls over an HTTP/2 session. Everything else goes
// through Connect. Source: gRPC over HTTP2 (github.com/grpc/grpc, doc/PROTOCOL-HTTP2.md).
import type {
  ClientHttp2Session,
  ClientHttp2Stream,
  Http2Stream,
  IncomingHttpHeaders,
  ServerHttp2Stream,
} from "node:http2";
import type { Readable } from "node:stream";
import {
  create,
  fromBinary,
  toBinary,
  type DescMessage,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";

/** Bytes that one message may have: twice of what BuildKit's clients send. */
const MAX_MESSAGE = 32 << 20;

/** Bytes before each message: whether it is compressed, and its length. */
const HEAD = 5;

/** A message in its frame. */
export function frame(message: Uint8Array): Buffer {
  const out = Buffer.allocUnsafe(HEAD + message.length);
  writeFrame(out, 0, message);
  return out;
}

function writeFrame(out: Buffer, at: number, message: Uint8Array): void {
  out[at] = 0;
  out.writeUInt32BE(message.length, at + 1);
  out.set(message, at + HEAD);
}

/** Frames back to messages, however the bytes come. */
export class Deframer {
  #chunks: Buffer[] = [];
  #size = 0;

  /** @throws ConnectError for messages that are too large or compressed */
  push(chunk: Buffer): Buffer[] {
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    const messages: Buffer[] = [];
    while (this.#size >= 5) {
      if (this.#chunks[0]!.length < 5) this.#chunks = [Buffer.concat(this.#chunks)];
      const head = this.#chunks[0]!;
      const length = head.readUInt32BE(1);
      if (head[0] !== 0) throw new ConnectError("compressed messages are not taken", Code.Unimplemented);
      if (length > MAX_MESSAGE)
        throw new ConnectError(
          `message of ${length} bytes is larger than ${MAX_MESSAGE}`,
          Code.ResourceExhausted,
        );
      if (this.#size < 5 + length) break;
      messages.push(this.#take(5 + length).subarray(5));
    }
    return messages;
  }

  #take(count: number): Buffer {
    const first = this.#chunks[0]!;
    this.#size -= count;
    if (first.length > count) {
      this.#chunks[0] = first.subarray(count);
      return first.subarray(0, count);
    }
    const parts: Buffer[] = [];
    let left = count;
    while (left > 0) {
      const chunk = this.#chunks[0]!;
      parts.push(chunk.subarray(0, left));
      if (chunk.length > left) this.#chunks[0] = chunk.subarray(left);
      else this.#chunks.shift();
      left -= Math.min(left, chunk.length);
    }
    return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
  }
}

/** Calls `onMessage` for every message, and holds the stream back while what it returns is pending. */
export function readMessages(
  stream: Readable,
  onMessage: (message: Buffer) => Promise<void> | void,
): Promise<void> {
  const deframer = new Deframer();
  return new Promise((resolve, reject) => {
    let running: Promise<void> | undefined;
    const take = async (messages: Buffer[]): Promise<void> => {
      for (const message of messages) await onMessage(message);
    };
    stream.on("data", (chunk: Buffer) => {
      try {
        const messages = deframer.push(chunk);
        if (messages.length === 0) return;
        stream.pause();
        running = take(messages).then(() => void stream.resume(), reject);
      } catch (error) {
        reject(error);
      }
    });
    stream.on("end", () => void (running ?? Promise.resolve()).then(resolve));
    stream.on("error", reject);
    const closed = (): void => reject(new ConnectError("stream was closed", Code.Canceled));
    // who waited for room to write may come late
    if (stream.destroyed) closed();
    else stream.on("close", closed);
  });
}

/** A call with messages in both directions, from either end. */
export interface BidiStream {
  /** @returns once there is room for more */
  send(message: Uint8Array): Promise<void>;
  /** Nothing more is sent. */
  end(): void;
  cancel(): void;
  /**
   * Takes what the other end sends, until it ends. What `onMessage` returns holds it back.
   * @throws ConnectError if that is not with OK
   */
  read(onMessage: (message: Buffer) => Promise<void> | void): Promise<void>;
}

/** Bytes of messages that are written at once. */
const BATCH = 64 << 10;

/** Writes messages, those of one turn at once; all that wait for room do so for the same moment. */
class Writer {
  readonly #stream: Http2Stream;
  /** where the next messages go: what is not written yet, and room behind it */
  #batch = Buffer.alloc(0);
  #length = 0;
  #room: Promise<void> | undefined;

  constructor(stream: Http2Stream) {
    this.#stream = stream;
  }

  /** Once it is done, `message` may be used for something else. */
  async send(message: Uint8Array): Promise<void> {
    if (this.#stream.destroyed) return;
    const size = HEAD + message.length;
    if (this.#batch.length - this.#length < size) {
      this.flush();
      this.#batch = Buffer.allocUnsafeSlow(Math.max(BATCH, size));
    }
    if (this.#length === 0) process.nextTick(() => this.flush());
    writeFrame(this.#batch, this.#length, message);
    this.#length += size;
    if (this.#room) await this.#room;
  }

  flush(): void {
    if (this.#length === 0 || this.#stream.destroyed) return;
    const written = this.#batch.subarray(0, this.#length);
    this.#batch = this.#batch.subarray(this.#length);
    this.#length = 0;
    if (this.#stream.write(written)) return;
    this.#room ??= new Promise<void>((resolve) => {
      const done = (): void => {
        this.#stream.off("drain", done).off("close", done);
        this.#room = undefined;
        resolve();
      };
      this.#stream.on("drain", done).on("close", done);
    });
  }

  /** Nothing more is written. */
  end(): void {
    this.flush();
    this.#stream.end();
  }
}

/** A call that this end made. */
export class Call implements BidiStream {
  readonly #stream: ClientHttp2Stream;
  readonly #writer: Writer;
  readonly #ended: Promise<void>;
  #status: IncomingHttpHeaders | undefined;

  constructor(stream: ClientHttp2Stream) {
    this.#stream = stream;
    this.#writer = new Writer(stream);
    stream.on("response", (headers) => {
      if (headers["grpc-status"] !== undefined) this.#status = headers;
    });
    stream.on("trailers", (headers: IncomingHttpHeaders) => (this.#status = headers));
    this.#ended = new Promise((resolve) => stream.on("close", () => resolve()));
    stream.on("error", () => undefined);
  }

  send(message: Uint8Array): Promise<void> {
    return this.#writer.send(message);
  }

  end(): void {
    this.#writer.end();
  }

  cancel(): void {
    this.#stream.close(8);
  }

  async read(onMessage: (message: Buffer) => Promise<void> | void): Promise<void> {
    try {
      await readMessages(this.#stream, onMessage);
    } catch (error) {
      if (this.#stream.destroyed && this.#status === undefined) throw error;
      if (this.#status === undefined) this.cancel();
      if (!this.#status) throw error;
    }
    // who answers need not wait for the last message of who asks; the stream is closed when both have ended
    this.#writer.end();
    await this.#ended;
    const status = Number(this.#status?.["grpc-status"] ?? Code.Unavailable);
    if (status === 0) return;
    const message = decodeURIComponent(String(this.#status?.["grpc-message"] ?? "the connection was closed"));
    const details = this.#status?.[DETAILS];
    const metadata = typeof details === "string" ? { [DETAILS]: details } : undefined;
    throw new ConnectError(message, codeOf(status), metadata);
  }
}

/** Where BuildKit puts what an error says beyond its message: google.rpc.Status, base64. */
export const DETAILS = "grpc-status-details-bin";

/** A call that the other end made. */
export class ServedCall implements BidiStream {
  readonly #stream: ServerHttp2Stream;
  readonly #rawHeaders: readonly string[];
  readonly #writer: Writer;
  #isEnded = false;

  constructor(stream: ServerHttp2Stream, rawHeaders: readonly string[]) {
    this.#rawHeaders = rawHeaders;
    this.#stream = stream;
    this.#writer = new Writer(stream);
    stream.on("error", () => undefined);
    stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
  }

  send(message: Uint8Array): Promise<void> {
    return this.#writer.send(message);
  }

  end(): void {
    this.finish(undefined);
  }

  cancel(): void {
    this.finish(new ConnectError("canceled", Code.Canceled));
  }

  /** What was sent under a key; each value as it came, though it may have commas. */
  values(key: string): string[] {
    return valuesOf(this.#rawHeaders, key);
  }

  /** Answers how the call went. @param error `undefined`: well */
  finish(error: ConnectError | undefined): void {
    if (this.#isEnded || this.#stream.destroyed) return;
    this.#isEnded = true;
    const trailers = {
      "grpc-status": String(error?.code ?? 0),
      ...(error && { "grpc-message": encodeURIComponent(error.rawMessage) }),
    };
    this.#stream.once("wantTrailers", () => this.#stream.sendTrailers(trailers));
    this.#writer.end();
  }

  async read(onMessage: (message: Buffer) => Promise<void> | void): Promise<void> {
    try {
      await readMessages(this.#stream, onMessage);
    } catch (error) {
      // the other end need not say that it sends nothing more
      if (!this.#isEnded) throw error;
    }
  }
}

/** Serves a call; what it throws is the call's status. */
export type Handler = (call: ServedCall) => Promise<void>;

/** One message here, one back. */
export function unary<I extends DescMessage, O extends DescMessage>(
  input: I,
  output: O,
  answer: (request: MessageShape<I>, call: ServedCall) => Promise<MessageInitShape<O>>,
): Handler {
  return async (call) => {
    let request = create(input);
    await call.read((message) => {
      request = fromBinary(input, message);
    });
    await call.send(toBinary(output, create(output, await answer(request, call))));
  };
}

/** All values of a header: Node joins them, though each may have commas. */
export function valuesOf(rawHeaders: readonly string[], name: string): string[] {
  const values: string[] = [];
  for (let i = 0; i < rawHeaders.length; i += 2) if (rawHeaders[i] === name) values.push(rawHeaders[i + 1]!);
  return values;
}

/** What gRPC calls can be made through. */
export class Channel {
  readonly #session: ClientHttp2Session;

  constructor(session: ClientHttp2Session) {
    this.#session = session;
  }

  get isClosed(): boolean {
    return this.#session.closed || this.#session.destroyed;
  }

  /** @param path "/package.Service/Method" @param metadata several values are sent as several fields */
  open(path: string, metadata: Readonly<Record<string, readonly string[]>>, signal: AbortSignal): Call {
    if (this.isClosed) throw new ConnectError("the client has gone", Code.Unavailable);
    for (const [key, values] of Object.entries(metadata))
      // Go's clients take no others
      if (!values.every((value) => /^[\x20-\x7e]*$/.test(value)))
        throw new ConnectError(
          `header key "${key}" contains value with non-printable ASCII characters`,
          Code.Internal,
        );
    const stream = this.#session.request({
      ":method": "POST",
      ":path": path,
      "content-type": "application/grpc",
      te: "trailers",
      ...(metadata as Record<string, string[]>),
    });
    const call = new Call(stream);
    const abort = (): void => call.cancel();
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    stream.once("close", () => signal.removeEventListener("abort", abort));
    return call;
  }

  /** One message there, any number back. @throws ConnectError */
  async stream<I extends DescMessage, O extends DescMessage>(
    path: string,
    input: I,
    output: O,
    message: MessageInitShape<I>,
    onMessage: (message: MessageShape<O>) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const call = this.open(path, {}, signal);
    await call.send(toBinary(input, create(input, message)));
    call.end();
    await call.read((data) => onMessage(fromBinary(output, data)));
  }

  /** One message there, one back. @throws ConnectError */
  async unary<I extends DescMessage, O extends DescMessage>(
    path: string,
    input: I,
    output: O,
    message: MessageInitShape<I>,
    signal: AbortSignal,
    metadata: Readonly<Record<string, readonly string[]>> = {},
  ): Promise<MessageShape<O>> {
    const call = this.open(path, metadata, signal);
    await call.send(toBinary(input, create(input, message)));
    call.end();
    let answer: MessageShape<O> | undefined;
    await call.read((data) => {
      answer = fromBinary(output, data);
    });
    if (!answer) throw new ConnectError("no answer came", Code.Internal);
    return answer;
  }
}

/** Connect's codes are gRPC's. */
export function codeOf(status: number): Code {
  const known: Readonly<Record<number, unknown>> = Code;
  // eslint-disable-next-line @typescript-eslint/no-unsafe-enum-assignment -- the numbers are the same
  return known[status] === undefined ? Code.Unknown : status;
}
