import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { open, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { digestOf } from "../lib/index.js";
import { ArrivingBlob } from "./arriving-blob.js";

const root = mkdtempSync(join(tmpdir(), "bluekiln-arriving-"));
afterAll(() => rmSync(root, { recursive: true }));
const data = randomBytes(3_000_000);
const PIECE = 100_000;
const offsets = Array.from({ length: data.length / PIECE }, (_, i) => i * PIECE);

async function receive(name: string, order: readonly (readonly number[])[]): Promise<number[]> {
  const file = await open(join(root, name), "wx+");
  const arrived = new SharedArrayBuffer(8);
  const blob = new ArrivingBlob(file, arrived);
  const seen: number[] = [];
  for (const together of order) {
    await Promise.all(together.map((at) => blob.write(data.subarray(at, at + PIECE), at)));
    seen.push(Number(new BigUint64Array(arrived)[0]));
  }
  expect(await blob.digest()).toEqual({ digest: digestOf(data), size: data.length });
  await file.close();
  expect((await readFile(join(root, name))).equals(data)).toBe(true);
  return seen;
}

describe("ArrivingBlob", () => {
  it("hashes and keeps bytes that come in order", async () => {
    const seen = await receive(
      "in-order",
      offsets.map((at) => [at]),
    );
    expect(seen).toEqual(offsets.map((at) => at + PIECE));
  });

  it("says how far it is whole where bytes come from the end", async () => {
    const seen = await receive(
      "reversed",
      [...offsets].reverse().map((at) => [at]),
    );
    expect(seen.slice(0, -1).every((count) => count === 0)).toBe(true);
    expect(seen.at(-1)).toBe(data.length);
  });

  it("takes pieces side by side", async () => {
    const lanes = [0, 1, 2, 3, 4].map((lane) => offsets.filter((_, i) => Math.floor(i / 6) === lane));
    await receive(
      "lanes",
      Array.from({ length: 6 }, (_, i) => lanes.map((lane) => lane[i]!)),
    );
    await receive("at-once", [offsets]);
  });

  it("tells what failed on this machine", async () => {
    const file = await open(join(root, "closed"), "wx+");
    const blob = new ArrivingBlob(file, new SharedArrayBuffer(8));
    await file.close();
    await expect(blob.write(data, 0)).rejects.toThrow();
    expect(blob.failed).toBeDefined();
    await expect(blob.digest()).rejects.toThrow();
  });
});
