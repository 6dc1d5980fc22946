// Images as one file or as an OCI layout, here or of a client.
import { createWriteStream } from "node:fs";
import { mkdir } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { PassThrough } from "node:stream";
import { DiskStore } from "../cache/index.js";
import type { Descriptor } from "../content/index.js";
import { writeArchive, type BlobSource, type ImageIndex, type PlatformImage } from "../exporter/index.js";
import { BuildError } from "../lib/index.js";
import { formatReference, parseReference, type Reference } from "../registry/index.js";
import { destinationError } from "./destination.js";
import type { ArchiveOutput, LayoutDestination } from "./types.js";

export async function writeTarball(
  output: ArchiveOutput,
  top: Descriptor,
  images: readonly PlatformImage[],
  index: ImageIndex | undefined,
  names: readonly Reference[],
  source: BlobSource,
  signal: AbortSignal,
): Promise<void> {
  if (output.kind === "docker" && index) {
    throw new BuildError(
      "MULTI_PLATFORM",
      "docker exporter does not currently support exporting manifest lists",
    );
  }
  const { kind, dest } = output;
  const archived = { top, images, index, names };
  if (typeof dest === "string" && !output.isTar) {
    if (dest === "-")
      throw new BuildError("OUTPUT_INVALID", `dest is required for ${kind} output without tar`);
    const store = new DiskStore(resolve(dest));
    await writeLayout(store, images, index, source, signal).catch((error: unknown) => {
      throw destinationError(dest, error);
    });
    return nameImage(store, top, names.map(formatReference));
  }
  if (dest === "-") return writeArchive(kind, process.stdout, archived, source, signal);
  if (typeof dest === "string") {
    await mkdir(dirname(resolve(dest)), { recursive: true });
    const file = createWriteStream(dest);
    return writeArchive(kind, file, archived, source, signal).catch((error: unknown) => {
      throw error === file.errored ? destinationError(dest, error) : error;
    });
  }
  if (!output.isTar) return writeLayout(dest.layout, images, index, source, signal);
  const stream = new PassThrough();
  const metadata = {
    "containerimage.digest": top.digest,
    ...(names.length > 0 && { "image.name": names.map(formatReference).join(",") }),
  };
  const taken = dest.takeFile(stream, metadata, signal);
  taken.catch((error: unknown) => stream.destroy(error as Error));
  await writeArchive(kind, stream, archived, source, signal);
  await taken;
}

/** The top comes last: what it names is there. */
async function writeLayout(
  layout: LayoutDestination,
  images: readonly PlatformImage[],
  index: ImageIndex | undefined,
  source: BlobSource,
  signal: AbortSignal,
): Promise<void> {
  for (const { image } of images) {
    for (const layer of image.layers) {
      signal.throwIfAborted();
      await layout.putFile(layer, await source.file(layer));
    }
    await layout.putData(image.configDescriptor, image.config);
    await layout.putData(image.descriptor, image.manifest);
  }
  if (index) await layout.putData(index.descriptor, index.data);
}

/** Enters an image in the index of its layout. @param names "registry.example/app:1" */
export async function nameImage(
  store: DiskStore,
  descriptor: Descriptor,
  names: readonly string[],
): Promise<void> {
  if (names.length === 0) return store.tag(descriptor, "latest");
  for (const name of names) await store.tag(descriptor, parseReference(name).tag ?? "latest", name);
}
