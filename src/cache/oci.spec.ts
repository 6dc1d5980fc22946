// Caches that BuildKit wrote to a registry and into an image (times cut to milliseconds): read, and written again.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { digestOf, type Digest } from "../lib/index.js";
import { inlineRecords } from "./inline.js";
import { CACHE_CONFIG_MEDIA_TYPE } from "./manifest.js";
import { decodeOciCaches, encodeOciCache, INLINE_KEY } from "./oci.js";

interface Recorded {
  readonly manifest: string;
  readonly config: string;
  readonly configDigest: string;
}

const recorded = JSON.parse(
  readFileSync(join(import.meta.dirname, "testdata/oci-caches.json"), "utf8"),
) as Readonly<Record<"max" | "im" | "dock", Recorded>> & {
  readonly inline: { readonly manifest: string; readonly config: string; readonly records: string };
};

describe.each([
  ["an index", "max", { imageManifest: false, ociMediaTypes: true }],
  ["an image manifest", "im", { imageManifest: true, ociMediaTypes: true }],
  ["a docker manifest list", "dock", { imageManifest: false, ociMediaTypes: false }],
] as const)("%s", (_, name, form) => {
  it("is written as BuildKit writes it", async () => {
    const { manifest, config, configDigest } = recorded[name];
    const [cache] = await decodeOciCaches(Buffer.from(manifest), async ({ mediaType, digest }) => {
      expect(mediaType).toBe(CACHE_CONFIG_MEDIA_TYPE);
      expect(digest).toBe(configDigest);
      return Buffer.from(config);
    });
    const written = encodeOciCache(cache!, form);
    expect(written.config.toString()).toBe(config);
    // its digest and size differ by the nanoseconds
    const size = manifest.replace(/"size":\d+}(\]?,"layers"|\]|,"layers")/, `"size":${config.length}}$1`);
    expect(written.manifest.toString()).toBe(size.replace(configDigest, digestOf(config)));
  });
});

describe("an image's records", () => {
  const read = async (): Promise<Buffer> => Buffer.from(recorded.inline.config);
  const layers = (JSON.parse(recorded.inline.manifest) as { layers: { digest: Digest }[] }).layers;

  it("are read with the image's layers, and written again", async () => {
    const [cache] = await decodeOciCaches(Buffer.from(recorded.inline.manifest), read);
    expect(cache!.layers.map(({ descriptor, parent }) => [descriptor.digest, parent])).toEqual(
      layers.map(({ digest }, i) => [digest, i - 1]),
    );
    const records = inlineRecords(
      cache!,
      layers.map(({ digest }) => digest),
    );
    expect(records!.toString()).toBe(recorded.inline.records);
  });

  it("name every layer of a result that is not the image's first ones", async () => {
    const [cache] = await decodeOciCaches(Buffer.from(recorded.inline.manifest), read);
    const turned = [...layers].reverse().map(({ digest }) => digest);
    const json = JSON.parse(inlineRecords(cache!, turned)!.toString()) as {
      chains?: { layers: number[] }[];
    }[];
    const longest = json
      .flatMap(({ chains }) => chains ?? [])
      .sort((a, b) => b.layers.length - a.layers.length);
    expect(longest[0]!.layers).toEqual([4, 3, 2, 1, 0]);
  });

  it("are none where no result is in the image", async () => {
    const [cache] = await decodeOciCaches(Buffer.from(recorded.inline.manifest), read);
    expect(inlineRecords(cache!, [])).toBeUndefined();
  });

  it("are none in an image without", async () => {
    const config = { ...(JSON.parse(recorded.inline.config) as object), [INLINE_KEY]: undefined };
    expect(
      await decodeOciCaches(Buffer.from(recorded.inline.manifest), async () =>
        Buffer.from(JSON.stringify(config)),
      ),
    ).toEqual([]);
  });
});

it.each([
  ["text", "no json"],
  [
    "a layer without a digest",
    JSON.stringify({
      layers: [{ size: 1 }],
      config: { mediaType: CACHE_CONFIG_MEDIA_TYPE, digest: digestOf("") },
    }),
  ],
])("a manifest that is %s is refused", async (_, text) => {
  await expect(decodeOciCaches(Buffer.from(text), async () => Buffer.from("{}"))).rejects.toMatchObject({
    code: "CACHE_MANIFEST_INVALID",
  });
});
