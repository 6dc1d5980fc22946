// A tar stream into a layer's file: compressed, and hashed on both sides of the compression.
import { createHash } from "node:crypto";
import { closeSync, openSync, writeSync } from "node:fs";
import type { Digest } from "../lib/index.js";
import { EstargzPacker } from "./estargz.js";
import { BlockGzip } from "./gzip.js";
import type { Compression, LayerBlob } from "./types.js";
import { BlockZstd } from "./zstd.js";

export interface PackOptions {
  readonly compression: Compression;
  /** `undefined`: the compression's own */
  readonly level?: number | undefined;
}

/** Where a packer's output goes; a chunk may change once it was taken. */
export interface PackOutput {
  /** bytes of the compressed layer */
  readonly compressed: (chunk: Buffer) => void;
  /** bytes of what it unpacks to */
  readonly uncompressed: (chunk: Buffer) => void;
}

export interface Packer {
  /** Takes bytes of a tar stream; once it is done, they may be used for something else. */
  push(chunk: Buffer): Promise<void>;
  /** @returns annotations of the layer's descriptor */
  finish(): Promise<Readonly<Record<string, string>> | undefined>;
}

/**
 * @param produce writes a tar stream to the function it is given
 * @throws the signal's reason; what was written until then is left
 */
export async function packLayer(
  file: string,
  options: PackOptions,
  produce: (write: (chunk: Buffer) => Promise<void>) => Promise<void>,
  signal: AbortSignal,
): Promise<LayerBlob> {
  const fd = openSync(file, "w");
  const outer = createHash("sha256");
  const inner = createHash("sha256");
  let size = 0;
  let uncompressedSize = 0;
  const output: PackOutput = {
    compressed: (chunk) => {
      outer.update(chunk);
      size += chunk.length;
      for (let at = 0; at < chunk.length;) at += writeSync(fd, chunk, at);
    },
    uncompressed: (chunk) => {
      inner.update(chunk);
      uncompressedSize += chunk.length;
    },
  };
  try {
    const packer = await packerFor(options, output);
    await produce((chunk) => {
      signal.throwIfAborted();
      return packer.push(chunk);
    });
    const annotations = await packer.finish();
    return {
      digest: `sha256:${outer.digest("hex")}` as Digest,
      size,
      diffId: `sha256:${inner.digest("hex")}` as Digest,
      uncompressedSize,
      ...(annotations && { annotations }),
    };
  } finally {
    closeSync(fd);
  }
}

async function packerFor({ compression, level }: PackOptions, output: PackOutput): Promise<Packer> {
  if (compression === "estargz") return new EstargzPacker(output, level);
  const { compressed, uncompressed } = output;
  if (compression === "uncompressed") {
    return {
      push: async (chunk) => {
        uncompressed(chunk);
        compressed(chunk);
      },
      finish: async () => undefined,
    };
  }
  const blocks =
    compression === "zstd" ? await BlockZstd.create(compressed, level) : new BlockGzip(compressed, level);
  return {
    push: (chunk) => {
      uncompressed(chunk);
      return blocks.push(chunk);
    },
    finish: async () => {
      await blocks.finish();
      return undefined;
    },
  };
}
