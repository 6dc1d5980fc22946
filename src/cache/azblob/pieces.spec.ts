import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { afterAll, describe, expect, it } from "vitest";
import { PIECE, piecesOf, Receiver, Rooms } from "./pieces.js";

const root = mkdtempSync(join(tmpdir(), "bluekiln-pieces-"));
afterAll(() => rmSync(root, { recursive: true }));
const data = randomBytes(5 * PIECE + 1234);
const file = join(root, "file");
writeFileSync(file, data);

describe("piecesOf", () => {
  it.each([
    ["all of a file", 0, data.length],
    ["the middle of one", 1000, 3 * PIECE],
    ["less than a piece", PIECE - 5, 10],
    ["nothing", 17, 0],
  ])("gives %s, one piece good until the next is asked for", async (_name, offset, size) => {
    const handle = await open(file);
    const free: Buffer[] = [];
    const rooms = new Rooms(free);
    const seen: Buffer[] = [];
    for await (const piece of piecesOf({ file: handle, offset, size }, rooms.next)) {
      const before = Buffer.from(piece);
      await setTimeout(2);
      expect(piece.equals(before)).toBe(true);
      seen.push(before);
    }
    await handle.close();
    expect(Buffer.concat(seen).equals(data.subarray(offset, offset + size))).toBe(true);
    rooms.release();
    expect(free.length).toBeLessThanOrEqual(2);
  });

  it("fails where the file has become shorter", async () => {
    const short = join(root, "short");
    writeFileSync(short, data);
    const handle = await open(short);
    truncateSync(short, PIECE + 1);
    const read = async (): Promise<void> => {
      for await (const _piece of piecesOf(
        { file: handle, offset: 0, size: data.length },
        new Rooms([]).next,
      ));
    };
    await expect(read()).rejects.toThrow("shorter");
    await handle.close();
  });
});

describe("Receiver", () => {
  it("gives all bytes in order, and is busy while both places are", async () => {
    const taken: Buffer[] = [];
    let most = 0;
    let running = 0;
    const receiver = new Receiver(async (piece) => {
      most = Math.max(most, ++running);
      const before = Buffer.from(piece);
      taken.push(before);
      await setTimeout(3);
      expect(piece.equals(before)).toBe(true);
      running--;
    }, new Rooms([]));
    for (let at = 0; at < data.length;) {
      await receiver.busy;
      const count = data.copy(receiver.space, 0, at, at + 70_000);
      at += count;
      receiver.fill(count);
    }
    await receiver.end();
    expect(Buffer.concat(taken).equals(data)).toBe(true);
    expect(most).toBe(2);
  });

  it("ends with what could not be taken", async () => {
    const receiver = new Receiver(async () => {
      throw new Error("no space left");
    }, new Rooms([]));
    receiver.fill(data.copy(receiver.space));
    receiver.fill(data.copy(receiver.space, 0, 0, 10));
    await expect(receiver.end()).rejects.toThrow("no space left");
  });
});
