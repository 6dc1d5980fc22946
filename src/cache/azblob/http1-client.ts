// Requests over connections of our own: for moving large blobs Node's streams cost twice the processor time of
// everything else together. What is sent is at hand or read as it goes, what is received is read into the place from
// where it is taken.
import { connect as connectPlain, isIP, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { unconfirmedBytes } from "../../linux/index.js";
import { AnswerReader, type Answer } from "./http1-answer.js";
import { piecesOf, Receiver, Rooms, sizeOf } from "./pieces.js";
import type { StorageRequest, StorageResponse, Transport } from "./types.js";

/** Milliseconds after which an idle connection is closed: sooner than Azure closes it. */
const KEEP_ALIVE = 20_000;
/** How much sooner than the server says that it will; milliseconds. */
const MARGIN = 2000;
/** Bytes of a head, or of what a body without a length is read by. */
const ROOM = 64 << 10;
/** Milliseconds between looks at what the kernel has still to send. */
const LOOK = 250;

export class Http1Client implements Transport {
  /** by origin, what was used last at the end */
  readonly #idle = new Map<string, Connection[]>();
  readonly #sessions = new Map<string, Buffer>();
  /** of all clients: places for pieces of bodies that nobody uses */
  static readonly #free: Buffer[] = [];

  async send(request: StorageRequest): Promise<StorageResponse> {
    request.signal?.throwIfAborted();
    const { origin } = request.url;
    const connection = this.#idle.get(origin)?.pop() ?? this.#connect(request.url);
    const response = await connection.exchange(request, new Rooms(Http1Client.#free));
    if (connection.isReusable) this.#keep(origin, connection);
    else connection.close();
    return response;
  }

  #connect(url: URL): Connection {
    return new Connection(url, this.#sessions.get(url.origin), (session) =>
      this.#sessions.set(url.origin, session),
    );
  }

  #keep(origin: string, connection: Connection): void {
    const idle = this.#idle.get(origin) ?? [];
    this.#idle.set(origin, idle);
    idle.push(connection);
    connection.rest(() => {
      const at = idle.indexOf(connection);
      if (at >= 0) idle.splice(at, 1);
    });
  }
}

/** One request at a time. */
class Connection {
  readonly #socket: Socket;
  readonly #room = Buffer.allocUnsafeSlow(ROOM);
  #exchange: Exchange | undefined;
  /** milliseconds it may be idle */
  #keepAlive = KEEP_ALIVE;
  #isClosed = false;
  #timer: NodeJS.Timeout | undefined;
  #onClosed: (() => void) | undefined;

  constructor(url: URL, session: Buffer | undefined, onSession: (session: Buffer) => void) {
    const isTls = url.protocol === "https:";
    const host = url.hostname.replace(/^\[|\]$/g, "");
    const options = {
      host,
      port: Number(url.port || (isTls ? 443 : 80)),
      noDelay: true,
      onread: {
        buffer: (): Buffer => this.#exchange?.reader.space ?? this.#room,
        callback: (count: number): boolean => this.#received(count),
      },
    };
    this.#socket = isTls
      ? connectTls({
          ...options,
          ...(isIP(host) === 0 && { servername: host }),
          ...(session && { session }),
          ALPNProtocols: ["http/1.1"],
        }).on("session", onSession)
      : connectPlain(options);
    this.#socket.on("error", (error) => this.#ended(error));
    this.#socket.on("close", () => this.#ended(new Error("the connection was closed")));
  }

  get isReusable(): boolean {
    return !this.#isClosed && this.#keepAlive > 0;
  }

  /** Nothing is asked for a while. @param onClosed it can't be used any more */
  rest(onClosed: () => void): void {
    this.#onClosed = onClosed;
    this.#socket.unref();
    this.#timer = setTimeout(() => this.close(), this.#keepAlive).unref();
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#socket.destroy();
    this.#onClosed?.();
  }

  async exchange(request: StorageRequest, rooms: Rooms): Promise<StorageResponse> {
    clearTimeout(this.#timer);
    this.#onClosed = undefined;
    this.#socket.ref();
    const { signal, take } = request;
    const abort = (): void => this.#ended(signal!.reason as Error);
    signal?.addEventListener("abort", abort, { once: true });
    const looks = sizeOf(request.body) > 0 ? this.#watchSending(request.moved) : undefined;
    const receiver = take && new Receiver(take, rooms);
    try {
      const response = await new Promise<StorageResponse>((resolve, reject) => {
        const reader = new AnswerReader(request.method, this.#room, receiver);
        this.#exchange = { reader, moved: request.moved, isSent: false, resolve, reject };
        void this.#send(request, this.#exchange, rooms);
      });
      await receiver?.end();
      // else pieces may still be on their way
      if (this.isReusable) rooms.release();
      return response;
    } finally {
      clearInterval(looks);
      signal?.removeEventListener("abort", abort);
      this.#exchange = undefined;
    }
  }

  async #send(
    { method, url, headers, body }: StorageRequest,
    exchange: Exchange,
    rooms: Rooms,
  ): Promise<void> {
    const size = sizeOf(body);
    const length = method === "PUT" ? { "content-length": String(size) } : {};
    const fields = Object.entries({ host: url.host, ...headers, ...length });
    const lines = fields.map(([name, value]) => `${name}: ${value.replace(/[\r\n]/g, " ")}\r\n`);
    const head = `${method} ${url.pathname}${url.search} HTTP/1.1\r\n${lines.join("")}\r\n`;
    this.#socket.cork();
    this.#socket.write(head, "latin1");
    exchange.isSent = size === 0;
    try {
      let sent = 0;
      for await (const piece of piecesOf(body, rooms.next)) {
        exchange.moved();
        sent += piece.length;
        exchange.isSent = sent === size;
        if (!(await this.#write(piece))) return;
      }
    } catch (error) {
      this.#ended(error as Error);
    } finally {
      this.#socket.uncork();
    }
  }

  /** @returns false if the connection has ended, of which it tells itself; what is answered all the same counts */
  #write(piece: Buffer): Promise<boolean> {
    return new Promise((resolve) => {
      this.#socket.write(piece, (error) => resolve(!error));
      this.#socket.uncork();
    });
  }

  /** The kernel takes megabytes at once: on a slow line they move long after they were written. */
  #watchSending(moved: () => void): NodeJS.Timeout {
    let last = 0;
    return setInterval(() => {
      const left = unconfirmedBytes(this.#socket) ?? 0;
      if (left < last) moved();
      last = left;
    }, LOOK);
  }

  /** @returns whether to read on */
  #received(count: number): boolean {
    const exchange = this.#exchange;
    if (!exchange) {
      this.close();
      return false;
    }
    try {
      exchange.moved();
      if (exchange.reader.take(count)) this.#complete(exchange);
      const { busy } = exchange.reader;
      void busy?.then(() => {
        exchange.moved();
        this.#socket.resume();
      });
      return busy === undefined;
    } catch (error) {
      this.#ended(error as Error);
      return false;
    }
  }

  #complete({ reader, isSent, resolve }: Exchange): void {
    const { answer } = reader;
    this.#keepAlive = isSent ? keepAliveOf(answer) : 0;
    this.#exchange = undefined;
    resolve(answer);
  }

  #ended(error: Error): void {
    const exchange = this.#exchange;
    this.#exchange = undefined;
    this.close();
    if (!exchange) return;
    const { reader, resolve, reject } = exchange;
    if (reader.end()) resolve(reader.answer);
    else if (reader.hasHead) resolve({ ...reader.answer, broken: error });
    else reject(error);
  }
}

/** A request on its way. */
interface Exchange {
  readonly reader: AnswerReader;
  readonly moved: () => void;
  /** an answer may come before that */
  isSent: boolean;
  readonly resolve: (response: StorageResponse) => void;
  readonly reject: (error: Error) => void;
}

/** Milliseconds that a connection is good for after an answer. */
function keepAliveOf({ headers }: Answer): number {
  if (/\bclose\b/i.test(headers["connection"] ?? "")) return 0;
  const seconds = /\btimeout=(\d+)/i.exec(headers["keep-alive"] ?? "")?.[1];
  return seconds === undefined ? KEEP_ALIVE : Math.min(KEEP_ALIVE, Number(seconds) * 1000 - MARGIN);
}
