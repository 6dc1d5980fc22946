// An image to a registry: blobs side by side, the manifest last.
import { Limiter } from "../lib/index.js";
import type { Reference, RegistryClient } from "../registry/index.js";
import type { LayerDescriptor } from "../snapshot/index.js";
import type { BuiltImage, ImageIndex } from "./image.js";

export interface BlobSource {
  /** a file with the blob; fetches it if it is only known where it is */
  file(descriptor: LayerDescriptor): Promise<string>;
  /** repository of the same registry that has the blob */
  repositoryOf(descriptor: LayerDescriptor, domain: string): string | undefined;
}

/** An index after the images it names; they are there by digest alone. */
export async function pushIndex(
  index: ImageIndex,
  images: readonly BuiltImage[],
  reference: Reference,
  registry: RegistryClient,
  source: BlobSource,
  signal: AbortSignal,
): Promise<void> {
  for (const image of images)
    await pushImage(image, { ...reference, tag: undefined }, registry, source, signal);
  await registry.pushManifest(reference, index.descriptor.mediaType, index.data, signal);
}

export async function pushImage(
  image: BuiltImage,
  reference: Reference,
  registry: RegistryClient,
  source: BlobSource,
  signal: AbortSignal,
): Promise<void> {
  if (await registry.hasTag(reference, image.descriptor.digest, signal)) return;
  const limiter = new Limiter(16);
  const unique = [...new Map(image.layers.map((layer) => [layer.digest, layer])).values()];
  await Promise.all([
    limiter.run(() =>
      registry.pushBlob(reference, image.configDescriptor, async () => image.config, undefined, signal),
    ),
    ...unique.map((layer) =>
      limiter.run(async () => {
        const from = source.repositoryOf(layer, reference.domain);
        const mountFrom = from === reference.path ? undefined : from;
        await registry.pushBlob(reference, layer, () => source.file(layer), mountFrom, signal);
      }),
    ),
  ]);
  await registry.pushManifest(reference, image.descriptor.mediaType, image.manifest, signal);
}
