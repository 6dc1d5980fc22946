import { describe, expect, it } from "vitest";
import { digestOf } from "../lib/index.js";
import { decodeManifest, encodeManifest } from "./manifest.js";
import type { CacheManifest } from "./types.js";

const a = digestOf("a");
const b = digestOf("b");
const descriptor = { mediaType: "m", digest: a, size: 3, diffId: b };
const layer = { parent: -1, descriptor, createdAt: 1000 };
const manifest: CacheManifest = {
  layers: [layer, { ...layer, descriptor: { ...descriptor, digest: b }, parent: 0 }],
  records: [
    { digest: a, inputs: [], results: [] },
    {
      digest: b,
      inputs: [
        [
          { link: 0, selector: a },
          { link: 0, selector: undefined },
        ],
      ],
      results: [{ layer: 1, createdAt: 2000 }],
    },
  ],
};

describe("a cache manifest", () => {
  it("is read as it was written", () => {
    expect(decodeManifest(encodeManifest(manifest))).toEqual(manifest);
  });

  it("leaves out a parent of 0 and writes none as -1", () => {
    const json = JSON.parse(encodeManifest(manifest).toString()) as { layers: { parent?: number }[] };
    expect(json.layers.map(({ parent }) => parent)).toEqual([-1, undefined]);
  });

  it.each([
    ["text", "no json"],
    ["a link that leads nowhere", JSON.stringify({ records: [{ digest: a, inputs: [[{ link: 7 }]] }] })],
    [
      "a circle of records",
      JSON.stringify({
        records: [
          { digest: a, inputs: [[{ link: 1 }]] },
          { digest: b, inputs: [[{ link: 0 }]] },
        ],
      }),
    ],
    [
      "a circle of layers",
      JSON.stringify({ layers: [{ blob: a, parent: 0, annotations: { diffID: b } }], records: [] }),
    ],
    ["a result that is no layer", JSON.stringify({ records: [{ digest: a, layers: [{ layer: 3 }] }] })],
  ])("is refused if it is %s", (_name, text) => {
    expect(() => decodeManifest(Buffer.from(text))).toThrow(/cache manifest/);
  });

  it("may be empty, and may have fields we do not know", () => {
    expect(decodeManifest(Buffer.from('{"future":1}'))).toEqual({ layers: [], records: [] });
  });
});
