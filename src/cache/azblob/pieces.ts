// Bodies in pieces: no part of a blob is in memory as a whole, however many are on their way.
import type { FilePart, Take } from "./types.js";

/** Bytes of a piece. */
export const PIECE = 512 << 10;

/** What the Azure SDK is given for a body that it does not see. */
export const ELSEWHERE = (): never => {
  throw new Error("the body of a request is not where it is said to be");
};

export function sizeOf(body: Buffer | FilePart): number {
  return Buffer.isBuffer(body) ? body.length : body.size;
}

/**
 * What is to be sent; the next piece is read while one is sent.
 * @param room a place for a piece: of two that are asked for in turn, one must be free once the next piece is wanted
 */
export async function* piecesOf(body: Buffer | FilePart, room: () => Buffer): AsyncGenerator<Buffer> {
  if (Buffer.isBuffer(body)) {
    for (let at = 0; at < body.length; at += PIECE) yield body.subarray(at, at + PIECE);
    return;
  }
  const read = (at: number): Promise<Buffer> => {
    const piece = readPiece(body, at, room());
    piece.catch(() => undefined);
    return piece;
  };
  for (let at = 0, next = read(0); at < body.size;) {
    const piece = await next;
    at += piece.length;
    if (at < body.size) next = read(at);
    yield piece;
  }
}

async function readPiece({ file, offset, size }: FilePart, at: number, room: Buffer): Promise<Buffer> {
  const count = Math.min(room.length, size - at);
  const { bytesRead } = await file.read(room, 0, count, offset + at);
  if (bytesRead === 0) throw new Error("a file is shorter than it was");
  return room.subarray(0, bytesRead);
}

/** Places for the pieces of one body: two, used in turn. */
export class Rooms {
  readonly #free: Buffer[];
  readonly #used: Buffer[] = [];
  #turn = 0;

  /** @param free places that nobody uses */
  constructor(free: Buffer[]) {
    this.#free = free;
  }

  readonly next = (): Buffer => {
    this.#turn = 1 - this.#turn;
    return (this.#used[this.#turn] ??= this.#free.pop() ?? Buffer.allocUnsafeSlow(PIECE));
  };

  /** Nothing is read from or into them any more. */
  release(): void {
    this.#free.push(...this.#used.splice(0).filter((room) => room !== undefined));
  }
}

/** What is received: one piece is filled while another is taken. */
export class Receiver {
  readonly #take: Take;
  /** the one that is filled, then the other */
  #rooms: [Room, Room];
  #filled = 0;
  #failed: { readonly error: unknown } | undefined;

  constructor(take: Take, rooms: Rooms) {
    this.#take = take;
    this.#rooms = [{ bytes: rooms.next() }, { bytes: rooms.next() }];
  }

  /** Where the next bytes go, unless it is busy. */
  get space(): Buffer {
    return this.#rooms[0].bytes.subarray(this.#filled);
  }

  /** Until when nothing may be put into `space`. */
  get busy(): Promise<void> | undefined {
    return this.#rooms[0].taken;
  }

  /** So many bytes were put into `space`. */
  fill(count: number): void {
    this.#filled += count;
    if (this.#filled === this.#rooms[0].bytes.length) this.#pass();
  }

  /** Nothing more comes. @throws what `take` throws */
  async end(): Promise<void> {
    if (this.#filled > 0) this.#pass();
    for (const { taken } of this.#rooms) await taken;
    if (this.#failed) throw this.#failed.error;
  }

  #pass(): void {
    const [room, other] = this.#rooms;
    const piece = room.bytes.subarray(0, this.#filled);
    room.taken = this.#take(piece)
      .catch((error: unknown) => void (this.#failed ??= { error }))
      .finally(() => (room.taken = undefined));
    this.#rooms = [other, room];
    this.#filled = 0;
  }
}

interface Room {
  readonly bytes: Buffer;
  /** what was in it is being taken */
  taken?: Promise<void> | undefined;
}
