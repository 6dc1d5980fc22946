import { appendFileSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { setTimeout } from "node:timers/promises";
import { afterAll, describe, expect, it } from "vitest";
import { growingFile } from "./growing-file.js";

const root = mkdtempSync(join(tmpdir(), "bluekiln-growing-"));
afterAll(() => rmSync(root, { recursive: true }));

describe("growingFile", () => {
  it("reads all that is written until the file has its last name", async () => {
    const [growing, complete] = [join(root, "a.part"), join(root, "a")];
    writeFileSync(growing, "");
    const read = buffer(growingFile(growing, complete, new AbortController().signal));
    for (let i = 0; i < 20; i++) {
      appendFileSync(growing, `${i},`.repeat(1000));
      await setTimeout(2);
    }
    renameSync(growing, complete);
    const expected = Array.from({ length: 20 }, (_, i) => `${i},`.repeat(1000)).join("");
    expect((await read).toString()).toBe(expected);
  });

  it("reads a file that is complete already", async () => {
    writeFileSync(join(root, "b"), "all of it");
    const read = buffer(growingFile(join(root, "b.part"), join(root, "b"), new AbortController().signal));
    expect((await read).toString()).toBe("all of it");
  });

  it("ends with the signal's reason where the writer gives up", async () => {
    writeFileSync(join(root, "c.part"), "half");
    const controller = new AbortController();
    const read = buffer(growingFile(join(root, "c.part"), join(root, "c"), controller.signal));
    await setTimeout(10);
    controller.abort(new Error("connection reset"));
    await expect(read).rejects.toThrow("connection reset");
  });
});
