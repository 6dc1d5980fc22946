import { closeSync, mkdtempSync, openSync, renameSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { afterAll, describe, expect, it } from "vitest";
import type { GrowingFile } from "../content/index.js";
import { growingFile } from "./growing-file.js";

const root = mkdtempSync(join(tmpdir(), "bluekiln-growing-"));
afterAll(() => rmSync(root, { recursive: true }));

const { signal } = new AbortController();
const emptyGrowing = (file: string): GrowingFile => ({ file, arrived: new SharedArrayBuffer(8) });
const arrived = (growing: GrowingFile, count: number): void =>
  void Atomics.store(new BigUint64Array(growing.arrived), 0, BigInt(count));

async function read(file: string, growing?: GrowingFile, during = signal): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of growingFile(file, growing, 1000, during)) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}

describe("growingFile", () => {
  it("reads all that is there from the start on until the file has its last name", async () => {
    const [growing, complete] = [emptyGrowing(join(root, "a.part")), join(root, "a")];
    writeFileSync(growing.file, "");
    const bytes = read(complete, growing);
    const expected = Array.from({ length: 20 }, (_, i) => `${i},`.repeat(1000)).join("");
    const file = openSync(growing.file, "r+");
    // the end comes first
    writeSync(file, expected.slice(-500), expected.length - 500);
    for (let at = 0; at < expected.length - 500; at += 3000) {
      writeSync(file, expected.slice(at, at + 3000), at);
      arrived(growing, Math.min(at + 3000, expected.length - 500));
      await setTimeout(2);
    }
    arrived(growing, expected.length);
    closeSync(file);
    renameSync(growing.file, complete);
    expect((await bytes).toString()).toBe(expected);
  });

  it("reads a file that is complete already", async () => {
    writeFileSync(join(root, "b"), "all of it");
    const bytes = read(join(root, "b"), emptyGrowing(join(root, "b.part")));
    expect((await bytes).toString()).toBe("all of it");
    expect((await read(join(root, "b"))).toString()).toBe("all of it");
  });

  it("ends with the signal's reason where the writer gives up", async () => {
    const growing = emptyGrowing(join(root, "c.part"));
    writeFileSync(growing.file, "half");
    arrived(growing, 4);
    const controller = new AbortController();
    const bytes = read(join(root, "c"), growing, controller.signal);
    await setTimeout(10);
    controller.abort(new Error("connection reset"));
    await expect(bytes).rejects.toThrow("connection reset");
  });
});
