import { spawnSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bytePath } from "../linux/index.js";
import { applyLayer } from "./apply.js";
import { convertLayer } from "./convert.js";
import { writeLayer } from "./diff.js";
import type { Compression, LayerBlob } from "./types.js";

let folder: string;
let tree: string;
const big = Buffer.concat([randomBytes(5 << 20), Buffer.alloc(7 << 20, "compressible ")]);
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "bluekiln-packer-"));
  tree = join(folder, "tree");
  mkdirSync(join(tree, "d"), { recursive: true });
  writeFileSync(join(tree, "d", "big"), big);
  writeFileSync(join(tree, "d", "empty"), "");
  writeFileSync(join(tree, "grün"), "small");
});
afterAll(() => rmSync(folder, { recursive: true }));

const sha256 = (data: Buffer): string => `sha256:${createHash("sha256").update(data).digest("hex")}`;
const write = (
  file: string,
  compression: Compression,
  level?: number,
  signal = new AbortController().signal,
): Promise<LayerBlob> =>
  writeLayer(file, { upper: bytePath(tree), lower: undefined, compression, level }, signal);
const mediaTypeOf = (compression: Compression): string =>
  compression === "uncompressed" ? "tar" : compression === "zstd" ? "tar+zstd" : "tar+gzip";

let counter = 0;
async function unpacked(file: string, compression: Compression, made: LayerBlob): Promise<string> {
  const target = join(folder, `out-${++counter}`);
  mkdirSync(target);
  const options = { mediaType: mediaTypeOf(compression), diffId: made.diffId, userXattr: false };
  await applyLayer({ ...options, file, target: bytePath(target) }, new AbortController().signal);
  expect(readFileSync(join(target, "d/big")).equals(big)).toBe(true);
  expect(readFileSync(join(target, "d/empty"), "utf8")).toBe("");
  expect(readFileSync(join(target, "grün"), "utf8")).toBe("small");
  return target;
}

it("ends once nobody wants the layer any more", async () => {
  const controller = new AbortController();
  const written = write(join(folder, "unwanted"), "gzip", 9, controller.signal);
  setImmediate(() => controller.abort(new Error("unwanted")));
  await expect(written).rejects.toThrow("unwanted");
});

describe.each(["gzip", "zstd", "estargz", "uncompressed"] as const)("%s", (compression) => {
  it("unpacks to what was packed, with the digests it says", async () => {
    const file = join(folder, compression);
    const made = await write(file, compression);
    const data = readFileSync(file);
    expect(made.digest).toBe(sha256(data));
    expect(made.size).toBe(data.length);
    await unpacked(file, compression, made);
  });

  it("is made of any other, which keeps what it unpacks to", async () => {
    const source = join(folder, `${compression}-source`);
    const from = await write(source, compression);
    const mediaType = mediaTypeOf(compression);
    for (const target of ["gzip", "zstd", "uncompressed"] as const) {
      const file = join(folder, `${compression}-${target}`);
      const options = { source, mediaType, diffId: from.diffId, compression: target };
      const made = await convertLayer(file, options, new AbortController().signal);
      expect(made.diffId).toBe(from.diffId);
      await unpacked(file, target, made);
    }
  });
});

it("levels make smaller layers", async () => {
  for (const compression of ["gzip", "zstd", "estargz"] as const) {
    const fast = await write(join(folder, "fast"), compression, 1);
    const best = await write(join(folder, "best"), compression, 9);
    expect(best.size).toBeLessThan(fast.size);
  }
});

it("a layer that is not what its diff id says is not converted", async () => {
  const source = join(folder, "honest");
  await write(source, "gzip");
  const options = {
    source,
    mediaType: "tar+gzip",
    diffId: sha256(big) as never,
    compression: "zstd" as const,
  };
  await expect(convertLayer(join(folder, "x"), options, new AbortController().signal)).rejects.toMatchObject({
    code: "BLOB_CORRUPT",
  });
});

describe("eStargz", () => {
  it("has an index that leads to every file's content", async () => {
    const file = join(folder, "indexed");
    const { annotations } = await write(file, "estargz");
    const data = readFileSync(file);
    const footer = data.subarray(-51);
    expect(footer.subarray(16, 38).toString()).toMatch(/^[0-9a-f]{16}STARGZ$/);
    const at = parseInt(footer.subarray(16, 32).toString(), 16);
    const tar = gunzipSync(data.subarray(at, -51));
    const size = parseInt(tar.subarray(124, 135).toString(), 8);
    const toc = tar.subarray(512, 512 + size);
    expect(annotations?.["containerd.io/snapshot/stargz/toc.digest"]).toBe(sha256(toc));
    interface Entry {
      readonly name: string;
      readonly type: string;
      readonly size?: number;
      readonly offset: number;
      readonly chunkSize?: number;
      readonly chunkOffset?: number;
      readonly chunkDigest: string;
      readonly digest?: string;
    }
    const { entries } = JSON.parse(toc.toString()) as { entries: Entry[] };
    expect(entries.map(({ name, type }) => `${type} ${name}`)).toEqual([
      "dir d/",
      "reg d/big",
      "chunk d/big",
      "chunk d/big",
      "reg d/empty",
      "reg grün",
    ]);
    const chunks = entries.filter(({ name }) => name === "d/big");
    const content = chunks.map(({ offset, chunkSize, chunkDigest }) => {
      // one gzip member: ask the reference tool, which reads on to the end
      const { stdout } = spawnSync("gzip", ["-dc"], { input: data.subarray(offset), maxBuffer: 1 << 28 });
      const chunk = stdout.subarray(0, chunkSize);
      expect(sha256(chunk)).toBe(chunkDigest);
      return chunk;
    });
    expect(Buffer.concat(content).equals(big)).toBe(true);
    expect(chunks[0]!.digest).toBe(sha256(big));
  });
});
