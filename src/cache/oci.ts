// A cache as OCI content, as registries and folders keep it: the layers' descriptors say what an object store's manifest
// says in annotations. Three forms are read: an index of layers and config, an image manifest, and an image whose config
// carries records (inline). Source of the format: manifests that BuildKit wrote.
import { BuildError, digestOf, goJson, isDigest, type Digest, type GoValue } from "../lib/index.js";
import type { Descriptor } from "../content/index.js";
import { dockerLayerType, ociLayerType, type LayerDescriptor } from "../snapshot/index.js";
import {
  CACHE_CONFIG_MEDIA_TYPE,
  decodeManifest,
  decodeRecords,
  encodeManifest,
  timeOf,
  timeText,
  type LayerFacts,
} from "./manifest.js";
import type { CacheLayer, CacheManifest } from "./types.js";

/** Key of an image config that holds records, base64. */
export const INLINE_KEY = "moby.buildkit.cache.v0";

const CREATED = "buildkit/createdat";
const DIFF_ID = "containerd.io/uncompressed";
const OCI_INDEX = "application/vnd.oci.image.index.v1+json";
const OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json";
const DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json";

export interface OciCacheForm {
  readonly imageManifest: boolean;
  readonly ociMediaTypes: boolean;
}

export interface OciCache {
  readonly config: Buffer;
  readonly configDescriptor: Descriptor;
  readonly manifest: Buffer;
  readonly descriptor: Descriptor;
}

export function encodeOciCache(
  manifest: CacheManifest,
  { imageManifest, ociMediaTypes }: OciCacheForm,
): OciCache {
  const config = encodeManifest(manifest, false);
  const configDescriptor = descriptorOf(CACHE_CONFIG_MEDIA_TYPE, config);
  const layers = manifest.layers.map((layer) => layerJson(layer, ociMediaTypes));
  const mediaType = imageManifest ? OCI_MANIFEST : ociMediaTypes ? OCI_INDEX : DOCKER_LIST;
  const data = Buffer.from(
    goJson({
      schemaVersion: 2,
      mediaType,
      ...(imageManifest
        ? { config: { ...configDescriptor }, layers }
        : { manifests: [...layers, { ...configDescriptor }] }),
    }),
  );
  return { config, configDescriptor, manifest: data, descriptor: descriptorOf(mediaType, data) };
}

function descriptorOf(mediaType: string, data: Buffer): Descriptor {
  return { mediaType, digest: digestOf(data), size: data.length };
}

function layerJson({ descriptor, createdAt }: CacheLayer, ociMediaTypes: boolean): GoValue {
  const { mediaType, digest, size, diffId, annotations } = descriptor;
  const own = {
    ...annotations,
    ...(createdAt !== undefined && { [CREATED]: timeText(createdAt) }),
    [DIFF_ID]: diffId,
  };
  return {
    mediaType: ociMediaTypes ? ociLayerType(mediaType) : dockerLayerType(mediaType),
    digest,
    size,
    annotations: Object.fromEntries(Object.entries(own).sort(([a], [b]) => (a < b ? -1 : 1))),
  };
}

interface OciDescriptor {
  readonly mediaType?: string;
  readonly digest?: string;
  readonly size?: number;
  readonly annotations?: Readonly<Record<string, string>>;
}

interface OciJson {
  readonly config?: OciDescriptor;
  readonly layers?: readonly OciDescriptor[];
  readonly manifests?: readonly OciDescriptor[];
}

interface ImageConfig {
  readonly rootfs?: { readonly diff_ids?: readonly string[] };
  readonly history?: readonly {
    readonly created?: string;
    readonly created_by?: string;
    readonly empty_layer?: boolean;
  }[];
  readonly [INLINE_KEY]?: string;
}

/**
 * The caches that a manifest or index holds; none if it is an image without records.
 * @param data the manifest or index
 * @param read gives a blob or manifest by its descriptor
 * @throws BuildError CACHE_MANIFEST_INVALID, what `read` throws
 */
export async function decodeOciCaches(
  data: Buffer,
  read: (descriptor: Descriptor) => Promise<Buffer>,
): Promise<readonly CacheManifest[]> {
  const json = parse(data);
  const entries = json.manifests ?? json.layers ?? [];
  const config = [...(json.config ? [json.config] : []), ...(json.manifests ?? [])].find(
    ({ mediaType }) => mediaType === CACHE_CONFIG_MEDIA_TYPE,
  );
  if (config) {
    const layers = entries.filter((entry) => entry !== config);
    return [decodeManifest(await read(checked(config)), factsOf(layers))];
  }
  if (json.config) return inlineCache(json.layers ?? [], await read(checked(json.config)));
  const images = (json.manifests ?? []).filter(({ mediaType }) =>
    /manifest\.v[12]\+json$/.test(mediaType ?? ""),
  );
  const found = await Promise.all(
    images.map(async (entry) => decodeOciCaches(await read(checked(entry)), read)),
  );
  return found.flat();
}

function inlineCache(layers: readonly OciDescriptor[], config: Buffer): CacheManifest[] {
  const image = parse(config) as ImageConfig;
  const records = image[INLINE_KEY];
  if (typeof records !== "string") return [];
  const diffIds = image.rootfs?.diff_ids ?? [];
  const history = (image.history ?? []).filter(({ empty_layer }) => empty_layer !== true);
  const known = layers.map((entry, i) => {
    const { mediaType, digest, size } = checked(entry);
    return {
      descriptor: { mediaType, digest, size, diffId: digestIn(diffIds[i]) },
      createdAt: timeOf(history[i]?.created),
      description: history[i]?.created_by,
    };
  });
  return [decodeRecords(Buffer.from(records, "base64"), known)];
}

function factsOf(layers: readonly OciDescriptor[]): LayerFacts {
  return new Map(
    layers.map((entry) => {
      const { mediaType, digest, size, annotations = {} } = checked(entry);
      const diffId = digestIn(annotations[DIFF_ID]);
      const others = Object.entries(annotations).filter(([key]) => key !== DIFF_ID && key !== CREATED);
      const descriptor: LayerDescriptor = {
        mediaType,
        digest,
        size,
        diffId,
        ...(others.length > 0 && { annotations: Object.fromEntries(others) }),
      };
      return [digest, { descriptor, createdAt: timeOf(annotations[CREATED]) }];
    }),
  );
}

function checked({ mediaType = "", digest, size = 0, annotations }: OciDescriptor): Descriptor {
  return { mediaType, digest: digestIn(digest), size, ...(annotations && { annotations }) };
}

function digestIn(text: string | undefined): Digest {
  if (text === undefined || !isDigest(text))
    throw new BuildError("CACHE_MANIFEST_INVALID", "cache manifest cannot be used: a layer has no digest");
  return text;
}

function parse(data: Buffer): OciJson {
  try {
    return (JSON.parse(data.toString()) ?? {}) as OciJson;
  } catch (cause) {
    throw new BuildError("CACHE_MANIFEST_INVALID", "cache manifest is not JSON", { cause });
  }
}
