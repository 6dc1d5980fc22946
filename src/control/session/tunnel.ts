// The tunnel: a gRPC stream whose messages carry the bytes of another HTTP/2 connection, in which the client serves what
// it lends (Control.Session of BuildKit).
import { connect, type ClientHttp2Session, type Http2Server, type Http2Stream } from "node:http2";
import { Duplex } from "node:stream";
import { frame, readMessages } from "../grpc.js";

/** Bytes that may be on their way before they are acknowledged. */
const WINDOW = 16 << 20;

/** The inner connection's end here. */
export class TunnelSocket extends Duplex {
  readonly #stream: Http2Stream;
  #wanted: (() => void) | undefined;

  constructor(stream: Http2Stream) {
    super({ allowHalfOpen: false, readableHighWaterMark: 1 << 20, writableHighWaterMark: 1 << 20 });
    this.#stream = stream;
    readMessages(stream, (message) => this.#received(message)).then(
      () => this.push(null),
      () => this.destroy(),
    );
  }

  #received(message: Buffer): Promise<void> | undefined {
    const data = bytesOf(message);
    if (data.length === 0 || this.push(data)) return undefined;
    return new Promise((resolve) => (this.#wanted = resolve));
  }

  override _read(): void {
    this.#wanted?.();
    this.#wanted = undefined;
  }

  override _write(chunk: Buffer, _encoding: string, callback: () => void): void {
    if (this.#stream.destroyed) return callback();
    this.#stream.write(frame(bytesMessage(chunk)), () => callback());
  }

  /** What waits is sent as one message. */
  override _writev(chunks: { chunk: Buffer }[], callback: () => void): void {
    this._write(Buffer.concat(chunks.map(({ chunk }) => chunk)), "buffer", callback);
  }

  override _final(callback: () => void): void {
    callback();
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    this.#wanted?.();
    callback(error);
  }
}

/** Makes the client's end of the tunnel callable. */
export function connectThrough(stream: Http2Stream): ClientHttp2Session {
  const socket = new TunnelSocket(stream);
  const session = connect("http://client", {
    createConnection: () => socket,
    settings: { initialWindowSize: WINDOW, enablePush: false },
    maxSessionMemory: 1000,
  });
  session.once("connect", () => session.setLocalWindowSize(WINDOW));
  // its end is what counts, not how it comes
  session.on("error", () => undefined);
  return session;
}

/** Serves in the tunnel: the client's side of it. */
export function serveThrough(stream: Http2Stream, server: Http2Server): void {
  const socket = new TunnelSocket(stream);
  server.emit("connection", socket);
}

/** The message BytesMessage: field 1. */
export function bytesMessage(data: Uint8Array): Buffer {
  const head = [0x0a];
  for (let rest = data.length; ; rest >>>= 7) {
    if (rest < 0x80) {
      head.push(rest);
      break;
    }
    head.push((rest & 0x7f) | 0x80);
  }
  return Buffer.concat([Buffer.from(head), data]);
}

export function bytesOf(message: Buffer): Buffer {
  if (message.length === 0) return message;
  if (message[0] !== 0x0a) throw new Error("not a message of bytes");
  let [at, length, shift] = [1, 0, 0];
  for (;;) {
    const byte = message[at++] ?? 0;
    length += (byte & 0x7f) * 2 ** shift;
    if (byte < 0x80) break;
    shift += 7;
  }
  return message.subarray(at, at + length);
}
