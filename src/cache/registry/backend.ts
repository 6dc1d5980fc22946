// A cache in a registry: one manifest or index under a tag, its layers as blobs of the repository.
import { BuildError } from "../../lib/index.js";
import type { Descriptor } from "../../content/index.js";
import type { Moved, Step } from "../../progress/index.js";
import { formatReference, type Reference, type RegistryClient } from "../../registry/index.js";
import { decodeOciCaches, encodeOciCache, type OciCacheForm } from "../oci.js";
import type { CacheBlob, CacheManifest, CacheSource, CacheTarget, StoredCache } from "../types.js";

export class RegistryBackend implements CacheSource, CacheTarget {
  readonly title = "exporting cache to registry";
  readonly needsLayers = true;
  readonly name: string;
  readonly #reference: Reference;
  readonly #registry: RegistryClient;
  readonly #form: OciCacheForm;

  constructor(reference: Reference, registry: RegistryClient, form: OciCacheForm) {
    this.#reference = reference;
    this.#registry = registry;
    this.#form = form;
    this.name = formatReference(reference);
  }

  async read(signal: AbortSignal): Promise<readonly StoredCache[]> {
    const { data } = await this.#registry.manifest(this.#reference, signal);
    const blobs = this.#registry.blobs(this.#reference);
    const manifests = await decodeOciCaches(data, (descriptor) => this.#content(descriptor, signal));
    if (manifests.length === 0)
      throw new BuildError("CACHE_MANIFEST_INVALID", `${this.name} holds no build cache`);
    return manifests.map((manifest) => ({ name: this.name, manifest, blobs, hasBlob: async () => true }));
  }

  async #content(descriptor: Descriptor, signal: AbortSignal): Promise<Buffer> {
    const { digest, mediaType } = descriptor;
    if (/manifest\.v[12]\+json$|index\.v1\+json$|manifest\.list\.v2\+json$/.test(mediaType))
      return (await this.#registry.manifest({ ...this.#reference, digest }, signal)).data;
    return this.#registry.readBlob(this.#reference, descriptor, signal);
  }

  /** Answered with the upload, which asks anyway. */
  async hasBlob(): Promise<boolean> {
    return false;
  }

  async putBlob(
    descriptor: Descriptor,
    { file, providers }: CacheBlob,
    moved: Moved,
    signal: AbortSignal,
  ): Promise<void> {
    const { domain, path } = this.#reference;
    const near = providers.find((name) => name.startsWith(`${domain}/`) && name !== `${domain}/${path}`);
    const from = near?.slice(domain.length + 1);
    await this.#registry.pushBlob(this.#reference, descriptor, file, from, signal);
    moved(descriptor.size);
  }

  async writeManifest(manifest: CacheManifest, step: Step, signal: AbortSignal): Promise<void> {
    const cache = encodeOciCache(manifest, this.#form);
    const { digest, mediaType } = cache.descriptor;
    await step.status(`writing config ${cache.configDescriptor.digest}`, () =>
      this.#registry.pushBlob(
        this.#reference,
        cache.configDescriptor,
        async () => cache.config,
        undefined,
        signal,
      ),
    );
    await step.status(`writing cache manifest ${digest}`, () =>
      this.#registry.pushManifest(this.#reference, mediaType, cache.manifest, signal),
    );
  }
}
