// A cache in a folder of the client: an OCI image layout, each cache under a tag of its index.
import type { BlobProvider, Descriptor } from "../../content/index.js";
import type { Moved, Step } from "../../progress/index.js";
import { decodeOciCaches, encodeOciCache, type OciCacheForm } from "../oci.js";
import type { CacheBlob, CacheManifest, CacheSource, CacheTarget, StoredCache } from "../types.js";
import type { LocalCacheFolder, OciStore } from "./types.js";

export class LocalBackend implements CacheSource, CacheTarget {
  readonly title = "exporting cache to client directory";
  readonly needsLayers = true;
  readonly name: string;
  readonly #place: LocalCacheFolder;
  readonly #store: OciStore;
  readonly #form: OciCacheForm;

  constructor(place: LocalCacheFolder, store: OciStore, form: OciCacheForm) {
    this.#place = place;
    this.#store = store;
    this.#form = form;
    this.name = store.name;
  }

  async read(): Promise<readonly StoredCache[]> {
    const digest = this.#place.digest ?? (await this.#store.tagged(this.#place.tag));
    const manifests = await decodeOciCaches(await this.#store.read(digest), (descriptor) =>
      this.#store.read(descriptor.digest),
    );
    const blobs: BlobProvider = {
      name: this.name,
      open: (descriptor, signal) => this.#store.open(descriptor, signal),
    };
    const hasBlob = (layer: Descriptor): Promise<boolean> => this.hasBlob(layer);
    return manifests.map((manifest) => ({ name: this.name, manifest, blobs, hasBlob }));
  }

  hasBlob({ digest }: Descriptor): Promise<boolean> {
    return this.#store.has(digest);
  }

  async putBlob(descriptor: Descriptor, { file }: CacheBlob, moved: Moved): Promise<void> {
    await this.#store.putFile(descriptor, await file());
    moved(descriptor.size);
  }

  async writeManifest(manifest: CacheManifest, step: Step): Promise<void> {
    const cache = encodeOciCache(manifest, this.#form);
    const { descriptor, configDescriptor } = cache;
    await step.status(`writing config ${configDescriptor.digest}`, () =>
      this.#store.putData(configDescriptor, cache.config),
    );
    await step.status(`writing cache manifest ${descriptor.digest}`, async () => {
      await this.#store.putData(descriptor, cache.manifest);
      await this.#store.tag(descriptor, this.#place.tag);
    });
  }
}
