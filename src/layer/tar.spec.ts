import { spawnSync } from "node:child_process";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { TarParser } from "./tar-parser.js";
import { padding, tarHeader, tarTrailer } from "./tar-writer.js";
import type { TarEntry } from "./types.js";

const name = fc
  .array(fc.string({ unit: fc.constantFrom(..."abc.- \u00e4\u00ff"), minLength: 1, maxLength: 60 }), {
    minLength: 1,
    maxLength: 8,
  })
  .map((parts) => parts.map((part) => (part === "." || part === ".." ? "x" : part)).join("/"));

const entry: fc.Arbitrary<TarEntry> = fc.record({
  name,
  type: fc.constant("file" as const),
  mode: fc.integer({ min: 0, max: 0o7777 }),
  uid: fc.oneof(fc.integer({ min: 0, max: 70000 }), fc.integer({ min: 2 ** 21, max: 2 ** 31 })),
  gid: fc.integer({ min: 0, max: 70000 }),
  size: fc.integer({ min: 0, max: 3000 }),
  mtime: fc.oneof(fc.integer({ min: 0, max: 2 ** 33 }), fc.integer({ min: -1000, max: -1 })),
  linkname: fc.constant(""),
  devmajor: fc.constant(0),
  devminor: fc.constant(0),
  xattrs: fc.constantFrom(
    new Map<string, Buffer>(),
    new Map([["security.capability", Buffer.from([1, 0, 10, 255])]]),
  ),
});

function write(entries: readonly TarEntry[]): Buffer {
  const blocks = entries.flatMap((one) => [
    tarHeader(one),
    Buffer.alloc(one.size, 65),
    Buffer.alloc(padding(one.size)),
  ]);
  return Buffer.concat([...blocks, tarTrailer()]);
}

describe("tar", () => {
  it("reads back what was written, cut into any chunks", () => {
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 5 }), fc.integer({ min: 1, max: 2000 }), (entries, chunk) => {
        const read: TarEntry[] = [];
        let bytes = 0;
        const parser = new TarParser({
          entry: (one) => read.push(one),
          data: (data) => (bytes += data.length),
          end: () => undefined,
        });
        const data = write(entries);
        for (let at = 0; at < data.length; at += chunk) parser.push(data.subarray(at, at + chunk));
        parser.finish();
        expect(read).toEqual(entries);
        expect(bytes).toBe(entries.reduce((sum, one) => sum + one.size, 0));
      }),
      { numRuns: 200 },
    );
  });

  it("is what GNU tar reads", () => {
    const long = `${"d".repeat(90)}/${"e".repeat(90)}/f`;
    const one: TarEntry = {
      name: long,
      type: "file",
      mode: 0o644,
      uid: 0,
      gid: 0,
      size: 3,
      mtime: 0,
      linkname: "",
      devmajor: 0,
      devminor: 0,
      xattrs: new Map(),
    };
    expect(spawnSync("tar", ["-t"], { input: write([one]), encoding: "utf8" }).stdout.trim()).toBe(long);
  });

  it("refuses what is cut off", () => {
    const one: TarEntry = {
      name: "f",
      type: "file",
      mode: 0o644,
      uid: 0,
      gid: 0,
      size: 3000,
      mtime: 0,
      linkname: "",
      devmajor: 0,
      devminor: 0,
      xattrs: new Map(),
    };
    const parser = new TarParser({ entry: () => undefined, data: () => undefined, end: () => undefined });
    parser.push(write([one]).subarray(0, 1000));
    expect(() => parser.finish()).toThrow("unexpected EOF");
  });
});
