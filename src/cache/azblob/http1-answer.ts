// An HTTP/1.1 answer (RFC 9112) as its bytes come. A body whose length is known is read into the place where it is
// wanted: no byte of it is copied after the kernel's copy.
import type { Receiver } from "./pieces.js";

export interface Answer {
  readonly status: number;
  /** by name in lower case; what comes more than once is joined by commas */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

type State = "head" | "length" | "size" | "chunk" | "trailer" | "close" | "done";

const END_OF_HEAD = Buffer.from("\r\n\r\n");
const END_OF_LINE = Buffer.from("\r\n");
const NO_BYTES = Buffer.alloc(0);

export class AnswerReader {
  readonly #isHead: boolean;
  readonly #receiver: Receiver | undefined;
  /** of the connection: takes everything but bodies of known length */
  readonly #room: Buffer;
  #filled = 0;
  #state: State = "head";
  #status = 0;
  #headers: Record<string, string> = {};
  /** of known length */
  #body: Buffer = NO_BYTES;
  #length = 0;
  #received = 0;
  /** takes the body, which is of known length */
  #taker: Receiver | undefined;
  #chunks: Buffer[] = [];
  /** bytes of the chunk that are to come */
  #left = 0;

  /** @param receiver takes the body of a partial answer whose length is known */
  constructor(method: string, room: Buffer, receiver?: Receiver) {
    this.#isHead = method === "HEAD";
    this.#room = room;
    this.#receiver = receiver;
  }

  /** Where the next bytes go. */
  get space(): Buffer {
    if (this.#state !== "length") return this.#room.subarray(this.#filled);
    return this.#taker
      ? this.#taker.space.subarray(0, this.#length - this.#received)
      : this.#body.subarray(this.#received);
  }

  /** Until when nothing may be put there. */
  get busy(): Promise<void> | undefined {
    return this.#taker?.busy;
  }

  /** Whether it is known what the answer is, if not all of its body. */
  get hasHead(): boolean {
    return this.#state !== "head";
  }

  /** What has come so far. */
  get answer(): Answer {
    const body =
      this.#chunks.length > 0
        ? Buffer.concat(this.#chunks)
        : this.#body.subarray(0, this.#taker ? 0 : this.#received);
    return { status: this.#status, headers: this.#headers, body };
  }

  /**
   * Takes bytes that were put where `space` said.
   * @returns whether the answer is complete
   * @throws Error if this is not HTTP
   */
  take(count: number): boolean {
    if (this.#state === "length") {
      this.#taker?.fill(count);
      this.#advance(count);
      return this.#isDone();
    }
    this.#filled += count;
    let used = 0;
    for (let step = -1; step !== 0 && this.#state !== "done"; used += step)
      step = this.#consume(this.#room.subarray(used, this.#filled));
    this.#room.copyWithin(0, used, this.#filled);
    this.#filled -= used;
    if (this.#isDone() && this.#filled > 0) throw new Error("bytes after the end of an HTTP answer");
    if (this.#filled === this.#room.length) throw new Error("an HTTP answer with a line that has no end");
    return this.#isDone();
  }

  /** The connection has ended. @returns whether that completes the answer */
  end(): boolean {
    if (this.#state === "close") this.#state = "done";
    return this.#isDone();
  }

  #isDone(): boolean {
    return this.#state === "done";
  }

  /** @returns how many bytes were used; 0 if there have to be more */
  #consume(bytes: Buffer): number {
    switch (this.#state) {
      case "head": {
        const end = bytes.indexOf(END_OF_HEAD);
        if (end < 0) return 0;
        this.#readHead(bytes.toString("latin1", 0, end));
        return end + END_OF_HEAD.length;
      }
      case "length": {
        const count = bytes.copy(this.space);
        this.#taker?.fill(count);
        this.#advance(count);
        return count;
      }
      case "size": {
        const end = bytes.indexOf(END_OF_LINE);
        if (end < 0) return 0;
        const size = /^[0-9a-f]+/i.exec(bytes.toString("latin1", 0, end));
        if (!size) throw new Error("an HTTP answer with a chunk that has no size");
        this.#left = parseInt(size[0], 16);
        this.#state = this.#left === 0 ? "trailer" : "chunk";
        return end + END_OF_LINE.length;
      }
      case "chunk": {
        if (this.#left === 0) {
          if (bytes.length < END_OF_LINE.length) return 0;
          this.#state = "size";
          return END_OF_LINE.length;
        }
        const part = Buffer.from(bytes.subarray(0, this.#left));
        if (part.length > 0) this.#chunks.push(part);
        this.#left -= part.length;
        return part.length;
      }
      case "trailer": {
        const end = bytes.indexOf(END_OF_LINE);
        if (end === 0) this.#state = "done";
        return end < 0 ? 0 : end + END_OF_LINE.length;
      }
      case "close":
        if (bytes.length > 0) this.#chunks.push(Buffer.from(bytes));
        return bytes.length;
      case "done":
        return 0;
    }
  }

  #advance(count: number): void {
    this.#received += count;
    if (this.#received === this.#length) this.#state = "done";
  }

  #readHead(text: string): void {
    const [line, ...fields] = text.split("\r\n");
    const status = /^HTTP\/1\.[01] (\d{3})/.exec(line!);
    if (!status) throw new Error("what answers does not speak HTTP");
    this.#status = Number(status[1]);
    this.#headers = {};
    for (const field of fields) {
      const colon = field.indexOf(":");
      const name = field.slice(0, colon).toLowerCase();
      const value = field.slice(colon + 1).trim();
      const old = this.#headers[name];
      this.#headers[name] = old === undefined ? value : `${old}, ${value}`;
    }
    // what comes before the answer itself
    if (this.#status < 200) return;
    this.#state = this.#framing();
  }

  #framing(): State {
    if (this.#isHead || this.#status === 204 || this.#status === 304) return "done";
    if (/\bchunked$/i.test(this.#headers["transfer-encoding"] ?? "")) return "size";
    const length = this.#headers["content-length"];
    if (length === undefined) return "close";
    if (!/^\d+$/.test(length)) throw new Error(`an HTTP answer of ${length} bytes`);
    this.#length = Number(length);
    if (this.#status === 206) this.#taker = this.#receiver;
    if (!this.#taker) this.#body = Buffer.allocUnsafeSlow(this.#length);
    return this.#length === 0 ? "done" : "length";
  }
}
