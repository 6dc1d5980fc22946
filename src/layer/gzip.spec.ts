import { randomBytes } from "node:crypto";
import { gunzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { BlockGzip } from "./gzip.js";

async function compress(chunks: readonly Buffer[]): Promise<Buffer> {
  const out: Buffer[] = [];
  const gzip = new BlockGzip((chunk) => out.push(Buffer.from(chunk)));
  for (const chunk of chunks) await gzip.push(chunk);
  await gzip.finish();
  return Buffer.concat(out);
}

describe("BlockGzip", () => {
  it.each([
    ["nothing", []],
    ["a few bytes", [Buffer.from("abc")]],
    ["exactly one block", [Buffer.alloc(1 << 20, 1)]],
    [
      "many blocks of text and noise",
      [Buffer.alloc(3_500_000, "text "), randomBytes(2_500_000), Buffer.alloc(100, 7)],
    ],
  ])("gives what gunzip reads: %s", async (_name, chunks) => {
    expect(gunzipSync(await compress(chunks)).equals(Buffer.concat(chunks))).toBe(true);
  });

  it("gives the same bytes for the same input, however it is cut", async () => {
    const data = Buffer.alloc(2_300_000, "some text that repeats ");
    const cut = [data.subarray(0, 7), data.subarray(7, 1_500_000), data.subarray(1_500_000)];
    expect((await compress(cut)).equals(await compress([data]))).toBe(true);
  });
});
