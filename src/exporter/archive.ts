// Images as one tar file: an OCI layout, or what `docker load` takes (which reads both).
import { createWriteStream } from "node:fs";
import { createReadStream } from "node:fs";
import { once } from "node:events";
import type { Writable } from "node:stream";
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

export async function writeArchive(
  format: "oci" | "docker",
  target: string | Writable,
  archived: ArchivedImages,
  source: BlobSource,
): Promise<void> {
  const { images, index, names } = archived;
  const out = typeof target === "string" ? createWriteStream(target) : target;
  const tar = new ArchiveWriter(out);
  tar.folder("blobs/");
  tar.folder("blobs/sha256/");
  for (const { image } of images) {
    await tar.file(blobPath(image.configDescriptor.digest), image.config);
    await tar.file(blobPath(image.descriptor.digest), image.manifest);
    for (const layer of image.layers)
      await tar.blob(blobPath(layer.digest), await source.file(layer), layer.size);
  }
  if (index) await tar.file(blobPath(index.descriptor.digest), index.data);
  await tar.file("index.json", Buffer.from(indexJson(archived)));
  if (format === "docker") await tar.file("manifest.json", Buffer.from(dockerManifest(images, names)));
  await tar.file("oci-layout", Buffer.from(goJson({ imageLayoutVersion: "1.0.0" })));
  await tar.finish(typeof target === "string");
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

class ArchiveWriter {
  readonly #out: Writable;
  readonly #written = new Set<string>();

  constructor(out: Writable) {
    this.#out = out;
  }

  folder(name: string): void {
    this.#out.write(header(name, "dir", 0o755, 0));
  }

  async file(name: string, data: Buffer): Promise<void> {
    if (this.#written.has(name)) return;
    this.#written.add(name);
    await this.#write(header(name, "file", 0o444, data.length));
    await this.#write(data);
    await this.#write(Buffer.alloc(padding(data.length)));
  }

  async blob(name: string, file: string, size: number): Promise<void> {
    if (this.#written.has(name)) return;
    this.#written.add(name);
    await this.#write(header(name, "file", 0o444, size));
    for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 }))
      await this.#write(chunk as Buffer);
    await this.#write(Buffer.alloc(padding(size)));
  }

  async finish(close: boolean): Promise<void> {
    await this.#write(tarTrailer());
    if (!close) return;
    this.#out.end();
    await once(this.#out, "finish");
  }

  async #write(chunk: Buffer): Promise<void> {
    if (chunk.length > 0 && !this.#out.write(chunk)) await once(this.#out, "drain");
  }
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
