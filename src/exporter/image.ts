// The image: config and manifest as BuildKit's exporter writes them. The frontend's config is completed with diff ids,
// history times and the creation time; top-level keys are in order of their names, everything inside stays as it was.
import { isDeepStrictEqual } from "node:util";
import { BuildError, digestOf, messageOf, goJson, goJsonIndent, sorted, type GoValue } from "../lib/index.js";
import type { OciPlatform } from "../llb/index.js";
import type { Descriptor } from "../content/index.js";
import { INLINE_KEY } from "../cache/index.js";
import { dockerLayerType, ociLayerType, type LayerDescriptor } from "../snapshot/index.js";

export const OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json";
export const OCI_CONFIG = "application/vnd.oci.image.config.v1+json";
export const OCI_INDEX = "application/vnd.oci.image.index.v1+json";
const DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json";
const DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json";

export interface ImageForm {
  readonly annotations?: Readonly<Record<string, string>>;
  /** else docker's */
  readonly ociMediaTypes?: boolean;
}

export interface ImageLayer {
  readonly descriptor: LayerDescriptor;
  /** milliseconds since 1970 */
  readonly createdAt: number;
  /** of what made it, where the config says nothing of it */
  readonly description: string;
}

/** Several images under one name, one for each platform. */
export interface ImageIndex {
  readonly data: Buffer;
  readonly descriptor: Descriptor;
}

export interface PlatformImage {
  readonly image: BuiltImage;
  readonly platform: OciPlatform;
}

export function buildIndex(
  images: readonly (PlatformImage & { readonly annotations?: Readonly<Record<string, string>> })[],
  { annotations = {}, ociMediaTypes = true }: ImageForm = {},
): ImageIndex {
  const mediaType = ociMediaTypes ? OCI_INDEX : DOCKER_LIST;
  const manifests = images.map(({ image, platform, annotations: own = {} }) => ({
    ...descriptorJson(image.descriptor),
    annotations: annotationsJson(own),
    platform: { ...platform },
  }));
  const data = Buffer.from(
    goJsonIndent({
      schemaVersion: 2,
      mediaType,
      manifests,
      annotations: annotationsJson(annotations),
    }),
  );
  return { data, descriptor: { mediaType, digest: digestOf(data), size: data.length } };
}

export interface BuiltImage {
  readonly config: Buffer;
  readonly configDescriptor: Descriptor;
  readonly manifest: Buffer;
  readonly descriptor: Descriptor;
  readonly layers: readonly LayerDescriptor[];
}

interface HistoryEntry {
  created?: string;
  created_by?: string;
  author?: string;
  comment?: string;
  empty_layer?: boolean;
}

/** @param frontendConfig `containerimage.config` of the frontend's result */
export function buildImage(
  frontendConfig: string,
  layers: readonly ImageLayer[],
  {
    epoch,
    baseConfig,
    annotations = {},
    ociMediaTypes = true,
    cache,
  }: ImageForm & {
    /** milliseconds since 1970 */
    readonly epoch?: number | undefined;
    /** of the image that this one stands on; its history keeps its times */
    readonly baseConfig?: string | undefined;
    /** records of a cache whose layers are the image's */
    readonly cache?: Buffer | undefined;
  } = {},
): BuiltImage {
  const config = Buffer.from(patchConfig(frontendConfig, layers, { epoch, baseConfig }, cache));
  const configDescriptor: Descriptor = {
    mediaType: ociMediaTypes ? OCI_CONFIG : DOCKER_CONFIG,
    digest: digestOf(config),
    size: config.length,
  };
  const mediaType = ociMediaTypes ? OCI_MANIFEST : DOCKER_MANIFEST;
  const manifest = Buffer.from(
    goJsonIndent({
      schemaVersion: 2,
      mediaType,
      config: descriptorJson(configDescriptor),
      layers: layers.map(({ descriptor }) => layerJson(descriptor, ociMediaTypes)),
      annotations: annotationsJson(annotations),
    }),
  );
  const descriptor = { mediaType, digest: digestOf(manifest), size: manifest.length };
  return { config, configDescriptor, manifest, descriptor, layers: layers.map((layer) => layer.descriptor) };
}

function annotationsJson(annotations: Readonly<Record<string, string>>): GoValue {
  return Object.keys(annotations).length > 0 ? sorted(annotations) : undefined;
}

export function descriptorJson({ mediaType, digest, size }: Descriptor): Record<string, GoValue> {
  return { mediaType, digest, size };
}

function layerJson(descriptor: LayerDescriptor, ociMediaTypes: boolean): GoValue {
  const { mediaType, annotations = {} } = descriptor;
  return {
    ...descriptorJson(descriptor),
    mediaType: ociMediaTypes ? ociLayerType(mediaType) : dockerLayerType(mediaType),
    annotations: annotationsJson(annotations),
  };
}

/** @throws BuildError RESULT_INVALID in BuildKit's words */
function parseConfig(text: string): Record<string, GoValue> {
  let config: Record<string, GoValue> | null;
  try {
    config = JSON.parse(text) as Record<string, GoValue> | null;
  } catch (cause) {
    throw new BuildError("RESULT_INVALID", `invalid image config for export: ${messageOf(cause)}`, { cause });
  }
  if (config === null) throw new BuildError("RESULT_INVALID", "invalid null image config for export");
  for (const key of ["os", "architecture"])
    if (!config[key])
      throw new BuildError("RESULT_INVALID", `invalid image config for export: missing ${key}`);
  return config;
}

function patchConfig(
  frontendConfig: string,
  layers: readonly ImageLayer[],
  { epoch, baseConfig }: { readonly epoch: number | undefined; readonly baseConfig: string | undefined },
  cache: Buffer | undefined,
): string {
  const config = parseConfig(frontendConfig);
  const history = completeHistory((config["history"] ?? []) as unknown as HistoryEntry[], layers);
  if (epoch !== undefined) clampHistory(history, epoch, baseConfig);
  const last = [...history].reverse().find((entry) => entry.created !== undefined)?.created;
  config["rootfs"] = {
    type: "layers",
    diff_ids: layers.length > 0 ? layers.map(({ descriptor }) => descriptor.diffId) : null,
  };
  const entries = history.map(({ created, created_by, author, comment, empty_layer }) => ({
    created,
    created_by: created_by || undefined,
    author: author || undefined,
    comment: comment || undefined,
    empty_layer: empty_layer || undefined,
  }));
  const isNone = entries.length === 0 && (config["history"] ?? null) === null;
  config["history"] = isNone ? null : entries;
  const { created } = config;
  if (created === undefined) config["created"] = last ?? null;
  else if (epoch !== undefined && typeof created === "string" && isAfter(created, epoch))
    config["created"] = timeText(epoch);
  if (cache) config[INLINE_KEY] = cache.toString("base64");
  return goJson(sorted(config));
}

/** One entry with a layer for each layer, and a time for every entry. */
function completeHistory(given: readonly HistoryEntry[], layers: readonly ImageLayer[]): HistoryEntry[] {
  const history = given.map((entry) => ({ ...entry }));
  let index = 0;
  for (const entry of history) {
    if (entry.empty_layer) continue;
    const layer = layers[index++];
    if (!layer) entry.empty_layer = true;
    else entry.created ??= timeText(layer.createdAt);
  }
  for (const layer of layers.slice(index)) {
    history.push({
      created: timeText(layer.createdAt),
      created_by: layer.description,
      comment: "buildkit.exporter.image.v0",
    });
  }
  // Entries without a time: that of the first new layer, then of the entry before.
  let created: string | undefined;
  let missing = false;
  for (const entry of history) {
    if (entry.created !== undefined) {
      created = entry.created;
      if (missing) break;
    } else missing = true;
  }
  missing = false;
  for (const entry of history) {
    if (entry.created !== undefined) {
      if (missing) created = entry.created;
    } else {
      missing = true;
      if (created !== undefined) entry.created = created;
    }
  }
  return history;
}

/** No entry is later than `epoch` (milliseconds since 1970), but those of the base. */
function clampHistory(history: readonly HistoryEntry[], epoch: number, baseConfig: string | undefined): void {
  const base = baseConfig === undefined ? {} : (JSON.parse(baseConfig) as { history?: HistoryEntry[] });
  const own = history.findIndex((entry, i) => !isDeepStrictEqual(entry, base.history?.[i]));
  for (const entry of own < 0 ? [] : history.slice(own))
    if (entry.created === undefined || isAfter(entry.created, epoch)) entry.created = timeText(epoch);
}

function isAfter(text: string, time: number): boolean {
  return Date.parse(text) > time;
}

function timeText(time: number): string {
  return new Date(time).toISOString().replace(/\.?0*Z$/, "Z");
}
