// Images: from a reference to a manifest and config of one platform, and from there to a lazy chain of layers.
import { BuildError, digestOf, goJson, messageOf, parseDigest, type Digest } from "../lib/index.js";
import type { BlobProvider, BlobStore, Descriptor, Table } from "../content/index.js";
import type { OciPlatform, Platform } from "../llb/index.js";
import { parseReference, type Manifest, type Reference } from "../registry/index.js";
import type { Ref, RefStore, RemoteLayer } from "../snapshot/index.js";

interface OciDescriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly platform?: OciPlatform;
}

interface OciManifest {
  readonly mediaType?: string;
  readonly manifests?: readonly OciDescriptor[];
  readonly config?: OciDescriptor;
  readonly layers?: readonly OciDescriptor[];
}

export interface ResolvedSource {
  readonly reference: Reference;
  /** of the index if the image has several platforms */
  readonly digest: Digest;
  readonly manifestDigest: Digest;
  readonly config: Buffer;
  readonly layers: readonly Descriptor[];
  readonly diffIds: readonly Digest[];
}

/** Where manifests and blobs are: a registry, an OCI layout. */
export interface ImageHost {
  manifest(reference: Reference, signal: AbortSignal): Promise<Manifest>;
  blobs(reference: Reference): BlobProvider;
}

export class ImageSource {
  readonly #registry: ImageHost;
  readonly #blobs: BlobStore;
  readonly #refs: RefStore;
  readonly #origins: Table<true> | undefined;
  readonly #resolved = new Map<string, Promise<ResolvedSource>>();

  /** @param origins "HOST/REPOSITORY@DIGEST" of manifests that came from there; none: the host is always asked */
  constructor(registry: ImageHost, blobs: BlobStore, refs: RefStore, origins?: Table<true>) {
    this.#registry = registry;
    this.#blobs = blobs;
    this.#refs = refs;
    this.#origins = origins;
  }

  /** One resolution of a reference and platform for the life of the object. */
  resolve(text: string, platform: Platform, signal: AbortSignal): Promise<ResolvedSource> {
    const key = JSON.stringify([text, platform]);
    let running = this.#resolved.get(key);
    if (!running) {
      running = this.#resolve(text, platform, signal);
      this.#resolved.set(key, running);
    }
    return running;
  }

  async #resolve(text: string, platform: Platform, signal: AbortSignal): Promise<ResolvedSource> {
    const reference = parseReference(text);
    const top = await this.#manifest(reference, signal);
    let { manifest, digest: manifestDigest } = top;
    if (manifest.manifests) {
      const chosen = choosePlatform(manifest.manifests, platform);
      if (!chosen) throw new BuildError("PLATFORM_MISSING", "no match for platform in manifest: not found");
      manifestDigest = parseDigest(chosen.digest);
      ({ manifest } = await this.#manifest({ ...reference, digest: manifestDigest }, signal));
    }
    if (!manifest.config)
      throw new BuildError("MANIFEST_UNSUPPORTED", `${text}: manifest ${manifestDigest} has no config`);
    const config = await this.#config(reference, manifest.config, signal);
    const { rootfs } = JSON.parse(config.toString()) as { rootfs?: { diff_ids?: string[] } };
    const diffIds = (rootfs?.diff_ids ?? []).map(parseDigest);
    const layers = (manifest.layers ?? []).map(({ mediaType, digest, size }) => ({
      mediaType,
      digest: parseDigest(digest),
      size,
    }));
    if (layers.length !== diffIds.length) {
      throw new BuildError(
        "MANIFEST_UNSUPPORTED",
        `${text}: ${layers.length} layers, but ${diffIds.length} diff ids in its config`,
      );
    }
    return { reference, digest: top.digest, manifestDigest, config, layers, diffIds };
  }

  /**
   * A manifest by digest is kept; a tag is asked for every time. One that came from elsewhere says nothing of whether it is
   * there, and may be had, too.
   */
  async #manifest(
    reference: Reference,
    signal: AbortSignal,
  ): Promise<{ manifest: OciManifest; digest: Digest }> {
    const { digest } = reference;
    const origin = (of: Digest): string => `${reference.domain}/${reference.path}@${of}`;
    if (digest !== undefined && this.#blobs.has(digest) && this.#origins?.get(origin(digest))) {
      return { manifest: JSON.parse((await this.#blobs.read(digest)).toString()) as OciManifest, digest };
    }
    const { data } = await this.#registry.manifest(reference, signal);
    const written = await this.#blobs.write(data);
    await this.#origins?.put(origin(written), true);
    return { manifest: JSON.parse(data.toString()) as OciManifest, digest: written };
  }

  async #config(reference: Reference, descriptor: OciDescriptor, signal: AbortSignal): Promise<Buffer> {
    const digest = parseDigest(descriptor.digest);
    await this.#blobs.fetch({ ...descriptor, digest }, this.#registry.blobs(reference), signal);
    return this.#blobs.read(digest);
  }

  /** The image's layers as a result; nothing is pulled yet. */
  ref(source: ResolvedSource, limit?: number): Ref | undefined {
    const provider = this.#registry.blobs(source.reference);
    const layers = source.layers.slice(0, limit).map((descriptor, i): RemoteLayer => ({
      descriptor: { ...descriptor, diffId: source.diffIds[i]! },
      provider,
    }));
    return this.#refs.fromRemote(layers, `pulled from ${provider.name}`);
  }

  /** The two alternative cache keys of an image: its manifest, and what its layers unpack to. */
  static keys(source: ResolvedSource, platform: Platform, limit?: number): readonly Digest[] {
    const manifestKey = digestOf(
      goJson({
        Digest: source.digest,
        OS: platform.OS,
        Arch: platform.Architecture,
        Variant: platform.Variant || undefined,
        OSVersion: platform.OSVersion || undefined,
        OSFeatures: platform.OSFeatures?.length ? platform.OSFeatures : undefined,
        Limit: limit,
      }),
    );
    let chain: Digest | undefined;
    for (const diffId of source.diffIds.slice(0, limit))
      chain = chain === undefined ? diffId : digestOf(`${chain} ${diffId}`);
    return [manifestKey, chain ?? digestOf(source.config)];
  }
}

function choosePlatform(manifests: readonly OciDescriptor[], wanted: Platform): OciDescriptor | undefined {
  const same = manifests.filter(
    ({ platform }) =>
      platform?.os === wanted.OS &&
      platform.architecture === wanted.Architecture &&
      (wanted.OS !== "windows" || sameRelease(platform["os.version"], wanted.OSVersion)),
  );
  const variantOf = (entry: OciDescriptor): string => {
    const variant = entry.platform?.variant ?? "";
    return wanted.Architecture === "arm64" && variant === "v8" ? "" : variant;
  };
  const exact = same.find((entry) => variantOf(entry) === (wanted.Variant ?? ""));
  return exact ?? (wanted.Architecture === "arm" ? olderArm(same, wanted, variantOf) : same[0]);
}

/** Of Windows: "10.0.17763.1234" and "10.0.17763". What says nothing fits all. */
function sameRelease(a = "", b = ""): boolean {
  const release = (version: string): string => version.split(".").slice(0, 3).join(".");
  return a === "" || b === "" || release(a) === release(b);
}

function olderArm(
  manifests: readonly OciDescriptor[],
  wanted: Platform,
  variantOf: (entry: OciDescriptor) => string,
): OciDescriptor | undefined {
  const limit = (wanted.Variant ?? "") || "v7";
  return manifests
    .filter((entry) => variantOf(entry) <= limit)
    .sort((a, b) => (variantOf(a) < variantOf(b) ? 1 : -1))[0];
}

/** The words BuildKit puts around a failed resolution. */
export function resolveError(text: string, error: unknown): Error {
  return new BuildError(
    error instanceof BuildError ? error.code : "IMAGE_UNRESOLVED",
    `failed to resolve source metadata for ${text}: ${messageOf(error)}`,
    { cause: error },
  );
}
