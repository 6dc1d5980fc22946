import { randomBytes } from "node:crypto";
import { gzipSync } from "node:zlib";
import { Gunzip } from "minizlib";
import { describe, expect, it, vi } from "vitest";
import { decompressorFor } from "./decompressor.js";
import { BlockZstd } from "./zstd.js";

const CHUNK = 256 << 10;
const TYPE = "application/vnd.oci.image.layer.v1.tar";
const noise = randomBytes(3_000_000);
const text = Buffer.from("what layers are made of, mostly\n".repeat(100_000));

async function unpack(packed: Buffer, size = CHUNK, mediaType = `${TYPE}+gzip`): Promise<Buffer> {
  const decompressor = await decompressorFor(packed.subarray(0, size), mediaType);
  const parts: Buffer[] = [];
  for (let at = 0; at < packed.length; at += size)
    for (const part of decompressor.push(packed.subarray(at, at + size))) parts.push(Buffer.from(part));
  return Buffer.concat([...parts, ...decompressor.end()]);
}

async function zstd(...frames: Buffer[]): Promise<Buffer> {
  const written: Buffer[] = [];
  const packer = await BlockZstd.create((chunk) => void written.push(Buffer.from(chunk)));
  for (const frame of frames) await packer.push(frame);
  await packer.finish();
  return Buffer.concat(written);
}

describe("decompressorFor", () => {
  it("unpacks gzip, whatever is in it and however it is cut", async () => {
    for (const data of [noise, text, Buffer.alloc(0)])
      for (const size of [4001, CHUNK, 5_000_000])
        expect((await unpack(gzipSync(data), size)).equals(data)).toBe(true);
  });

  it("unpacks gzip of several members, and leaves what is behind them", async () => {
    const members = [gzipSync(text), gzipSync(noise), gzipSync(Buffer.alloc(0)), gzipSync(text)];
    const whole = Buffer.concat([text, noise, text]);
    expect((await unpack(Buffer.concat(members))).equals(whole)).toBe(true);
    expect((await unpack(Buffer.concat([...members, Buffer.alloc(512)]))).equals(whole)).toBe(true);
    // a member that begins where a chunk does
    expect((await unpack(Buffer.concat(members), members[0]!.length)).equals(whole)).toBe(true);
  });

  it("unpacks zstd of several frames", async () => {
    const packed = await zstd(noise, text, noise);
    expect((await unpack(packed)).equals(Buffer.concat([noise, text, noise]))).toBe(true);
  });

  it("gives what is not compressed as it is", async () => {
    expect((await unpack(noise, CHUNK, TYPE)).equals(noise)).toBe(true);
    await expect(unpack(text)).rejects.toThrow("not gzip");
  });

  it("unpacks little at once of what becomes a thousand times as much", async () => {
    const packed = gzipSync(Buffer.alloc(300 << 20));
    const write = vi.spyOn(Gunzip.prototype, "write");
    expect((await unpack(packed)).length).toBe(300 << 20);
    const sizes = write.mock.calls.map(([chunk]) => (chunk as Buffer).length).filter((size) => size > 0);
    write.mockRestore();
    expect(Math.max(...sizes.slice(1))).toBeLessThan(10_000);
  });

  it("throws where bytes are wrong or missing", async () => {
    const packed = gzipSync(text);
    await expect(unpack(packed.subarray(0, -20))).rejects.toThrow("unexpected end of file");
    packed.fill(0xff, 1000, 1100);
    await expect(unpack(packed)).rejects.toThrow();
    await expect(zstd(text).then((whole) => unpack(whole.subarray(0, -20)))).rejects.toThrow();
  });
});
