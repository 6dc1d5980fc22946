import { randomBytes } from "node:crypto";
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { decompressorFor, SLICE } from "./decompressor.js";
import { BlockZstd } from "./zstd.js";

const TYPE = "application/vnd.oci.image.layer.v1.tar";
const noise = randomBytes(3_000_000);
const text = Buffer.from("what layers are made of, mostly\n".repeat(100_000));

async function unpack(packed: Buffer, slice = SLICE, mediaType = `${TYPE}+gzip`): Promise<Buffer> {
  const decompressor = await decompressorFor(packed.subarray(0, slice), mediaType);
  const parts: Buffer[] = [];
  for (let at = 0; at < packed.length; at += slice)
    for (const part of decompressor.push(packed.subarray(at, at + slice))) parts.push(Buffer.from(part));
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
      for (const slice of [4001, SLICE, 5_000_000])
        expect((await unpack(gzipSync(data), slice)).equals(data)).toBe(true);
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
    expect((await unpack(noise, SLICE, TYPE)).equals(noise)).toBe(true);
    await expect(unpack(text)).rejects.toThrow("not gzip");
  });

  it("throws where bytes are wrong or missing", async () => {
    const packed = gzipSync(text);
    await expect(unpack(packed.subarray(0, -20))).rejects.toThrow("unexpected end of file");
    packed.fill(0xff, 1000, 1100);
    await expect(unpack(packed)).rejects.toThrow();
    await expect(zstd(text).then((whole) => unpack(whole.subarray(0, -20)))).rejects.toThrow();
  });
});
