import { once } from "node:events";
import { PassThrough } from "node:stream";
import { describe, expect, it } from "vitest";
import { digestOf } from "../lib/index.js";
import { writeArchive, type ArchivedImages } from "./archive.js";

const config = Buffer.alloc(1 << 20, " ");
const descriptor = { mediaType: "application/json", digest: digestOf(config), size: config.length };
const image = { configDescriptor: descriptor, config, descriptor, manifest: config, layers: [] };
const archived: ArchivedImages = {
  top: descriptor,
  images: [{ platform: { os: "linux", architecture: "amd64" }, image }] as never,
  index: undefined,
  names: [],
};
const source = { file: () => Promise.reject(new Error("no layers")), repositoryOf: () => undefined };

describe("an archive", () => {
  it("has every blob once, whatever it is", async () => {
    const out = new PassThrough();
    let length = 0;
    out.on("data", (chunk: Buffer) => (length += chunk.length));
    await writeArchive("oci", out, archived, source, new AbortController().signal);
    expect(length).toBeGreaterThan(config.length);
    expect(length).toBeLessThan(config.length * 2);
  });

  it("is not waited for if nobody reads it and nobody wants it any more", async () => {
    const controller = new AbortController();
    const written = writeArchive("oci", new PassThrough(), archived, source, controller.signal);
    setTimeout(() => controller.abort(new Error("context canceled")), 50);
    await expect(written).rejects.toThrow("context canceled");
  });

  it("ends with what its reader says", async () => {
    const out = new PassThrough();
    const written = writeArchive("oci", out, archived, source, new AbortController().signal);
    await once(out, "readable");
    out.destroy(new Error("the client has gone"));
    await expect(written).rejects.toThrow("the client has gone");
  });
});
