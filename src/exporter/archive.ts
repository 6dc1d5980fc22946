// Images as one tar file: an OCI layout, or what `docker load` takes (which reads both).
import { createReadStream } from "node:fs";
import type { Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { goJson, goJsonIndent, hexOf, sorted, type Digest } from "../lib/index.js";
import type { Descriptor } from "../content/index.js";
import { padding, tarHeader, tarTrailer } from "../layer/index.js";
import { familiarReference, type Reference } from "../registry/index.js";
import { descriptorJson, OCI_INDEX, type ImageIndex, type PlatformImage } from "./image.js";
import type { BlobSource } from "./push.js";

export interface ArchivedImages {
  /** what the archive's index names, with its annotations */
  readonly top: Descriptor;
  readonly images: readonly PlatformImage[];
  readonly index: ImageIndex | undefined;
  readonly names: readonly Reference[];
}

/**
 * Writes an archive and ends its stream, unless that is this process's output.
 * @throws what the stream, the source or the signal say
 */
export async function writeArchive(
  format: "oci" | "docker",
  out: Writable,
  archived: ArchivedImages,
  source: BlobSource,
  signal: AbortSignal,
): Promise<void> {
  try {
    await pipeline(archiveOf(format, archived, source), out, { signal, end: out !== process.stdout });
  } catch (error) {
    throw signal.aborted ? signal.reason : error;
  }
}

async function* archiveOf(
  format: "oci" | "docker",
  archived: ArchivedImages,
  source: BlobSource,
): AsyncGenerator<Buffer> {
  const { images, index, names } = archived;
  const written = new Set<string>();
  const isNew = (name: string): boolean => !written.has(name) && written.add(name) !== undefined;
  yield header("blobs/", "dir", 0o755, 0);
  yield header("blobs/sha256/", "dir", 0o755, 0);
  for (const { image } of images) {
    for (const [{ digest }, data] of [
      [image.configDescriptor, image.config],
      [image.descriptor, image.manifest],
    ] as const)
      if (isNew(digest)) yield* file(blobPath(digest), data);
    for (const layer of image.layers)
      if (isNew(layer.digest)) yield* blob(blobPath(layer.digest), await source.file(layer), layer.size);
  }
  if (index && isNew(index.descriptor.digest)) yield* file(blobPath(index.descriptor.digest), index.data);
  yield* file("index.json", Buffer.from(indexJson(archived)));
  if (format === "docker") yield* file("manifest.json", Buffer.from(dockerManifest(images, names)));
  yield* file("oci-layout", Buffer.from(goJson({ imageLayoutVersion: "1.0.0" })));
  yield tarTrailer();
}

function* file(name: string, data: Buffer): Generator<Buffer> {
  yield header(name, "file", 0o444, data.length);
  yield data;
  yield Buffer.alloc(padding(data.length));
}

async function* blob(name: string, path: string, size: number): AsyncGenerator<Buffer> {
  yield header(name, "file", 0o444, size);
  yield* createReadStream(path, { highWaterMark: 1 << 20 }) as AsyncIterable<Buffer>;
  yield Buffer.alloc(padding(size));
}

function indexJson({ top, images, index, names }: ArchivedImages): string {
  const platform = index ? undefined : images[0]!.platform;
  const named = names.length > 0 ? names : [undefined];
  const manifests = named.map((name) => ({
    ...descriptorJson(top),
    annotations: sorted({
      ...top.annotations,
      ...(name && {
        "io.containerd.image.name": `${name.domain}/${name.path}:${name.tag ?? "latest"}`,
        "org.opencontainers.image.ref.name": name.tag ?? "latest",
      }),
    }),
    ...(platform && {
      platform: { ...platform },
    }),
  }));
  return goJsonIndent({ schemaVersion: 2, mediaType: OCI_INDEX, manifests });
}

function dockerManifest(images: readonly PlatformImage[], names: readonly Reference[]): string {
  return goJson(
    images.map(({ image }) => ({
      Config: blobPath(image.configDescriptor.digest),
      RepoTags: names.length > 0 ? names.map(familiarReference) : null,
      Layers: image.layers.map((layer) => blobPath(layer.digest)),
    })),
  );
}

function blobPath(digest: Digest): string {
  return `blobs/sha256/${hexOf(digest)}`;
}

function header(name: string, type: "file" | "dir", mode: number, size: number): Buffer {
  return tarHeader({
    name,
    type,
    mode,
    size,
    uid: 0,
    gid: 0,
    mtime: 0,
    linkname: "",
    devmajor: 0,
    devminor: 0,
    xattrs: new Map(),
  });
}
