import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { digestOf } from "../lib/index.js";
import { BlobStore } from "./blob-store.js";
import type { BlobProvider } from "./types.js";

const root = mkdtempSync(join(tmpdir(), "bluekiln-blobs-"));
afterAll(() => rmSync(root, { recursive: true }));
const temporary = join(root, "tmp");
mkdirSync(temporary);
const store = new BlobStore(join(root, "content"), temporary, 50);
const signal = new AbortController().signal;
const data = Buffer.from("the bytes");
const descriptor = { mediaType: "text/plain", digest: digestOf(data), size: data.length };

type Chunks = (this: void, signal: AbortSignal) => AsyncIterable<Uint8Array>;

function provider(chunks: Chunks): BlobProvider {
  return { name: "elsewhere", open: async (_descriptor, aborted) => chunks(aborted) };
}

describe("BlobStore.fetch", () => {
  it.each([
    {
      name: "bytes that are wrong",
      code: "BLOB_CORRUPT",
      chunks: async function* () {
        yield Buffer.from("other bytes");
      },
    },
    {
      name: "a transfer that breaks",
      code: "BLOB_UNAVAILABLE",
      chunks: async function* () {
        yield data.subarray(0, 3);
        throw new Error("connection reset");
      },
    },
    {
      name: "a transfer that stalls",
      code: "BLOB_UNAVAILABLE",
      chunks: async function* (aborted: AbortSignal) {
        yield data.subarray(0, 3);
        await new Promise((_, reject) =>
          aborted.addEventListener("abort", () => reject(aborted.reason as Error)),
        );
      },
    },
  ])("refuses $name and keeps nothing of it", async ({ code, chunks }: { code: string; chunks: Chunks }) => {
    await expect(store.fetch(descriptor, provider(chunks), signal)).rejects.toMatchObject({ code });
    expect(store.has(descriptor.digest)).toBe(false);
    expect(readdirSync(temporary)).toEqual([]);
  });

  it("keeps what has the right digest, fetched once for all who ask", async () => {
    let opened = 0;
    const good = provider(async function* () {
      opened++;
      yield data.subarray(0, 3);
      yield data.subarray(3);
    });
    await Promise.all([store.fetch(descriptor, good, signal), store.fetch(descriptor, good, signal)]);
    expect(await store.read(descriptor.digest)).toEqual(data);
    expect(opened).toBe(1);
  });

  it("takes its own way where another's that it joined fails", async () => {
    const bad = provider(async function* () {
      yield data.subarray(0, 3);
      await new Promise((done) => setTimeout(done, 5));
      throw new Error("connection reset");
    });
    const good = provider(async function* () {
      yield other;
    });
    const other = Buffer.from("other bytes");
    const wanted = { ...descriptor, digest: digestOf(other) };
    const theirs = store.fetch(wanted, bad, signal);
    const ours = store.fetch(wanted, good, signal);
    await expect(theirs).rejects.toMatchObject({ code: "BLOB_UNAVAILABLE" });
    await ours;
    expect(store.has(wanted.digest)).toBe(true);
  });

  it("takes parts in any order, and says whose fault it is if one does not come", async () => {
    const bytes = Buffer.from("parts of a blob");
    const wanted = { ...descriptor, digest: digestOf(bytes), size: bytes.length };
    const broken: BlobProvider = {
      name: "elsewhere",
      fetch: async (_descriptor, sink) => {
        await sink.write(bytes.subarray(5), 5);
        throw new Error("connection reset");
      },
    };
    await expect(store.fetch(wanted, broken, signal)).rejects.toMatchObject({ code: "BLOB_UNAVAILABLE" });
    expect(readdirSync(temporary)).toEqual([]);
    const good: BlobProvider = {
      name: "elsewhere",
      fetch: async (_descriptor, sink) => {
        await sink.write(bytes.subarray(5), 5);
        await sink.write(bytes.subarray(0, 5), 0);
      },
    };
    await store.fetch(wanted, good, signal);
    expect(await store.read(wanted.digest)).toEqual(bytes);
  });

  it("refuses a blob with a part that never came", async () => {
    const bytes = Buffer.from("a blob with a hole");
    const wanted = { ...descriptor, digest: digestOf(bytes), size: bytes.length };
    const holes: BlobProvider = {
      name: "elsewhere",
      fetch: async (_descriptor, sink) => sink.write(bytes.subarray(5), 5),
    };
    await expect(store.fetch(wanted, holes, signal)).rejects.toMatchObject({ code: "BLOB_CORRUPT" });
  });
});
