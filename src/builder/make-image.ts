// A result as an image: its layers packed, its config and manifest with what the output and the frontend want of them.
import type { Descriptor } from "../content/index.js";
import {
  buildImage,
  buildIndex,
  type AttestationImage,
  type ImageIndex,
  type ImageLayer,
  type PlatformImage,
  type Predicate,
} from "../exporter/index.js";
import { formatPlatform } from "../frontend/index.js";
import { ociPlatform } from "../llb/index.js";
import { BuildError } from "../lib/index.js";
import type { Definition, Platform } from "../llb/index.js";
import type { Ref } from "../snapshot/index.js";
import type { KeyNode } from "../solver/index.js";
import type { Engine } from "./engine.js";
import { inlineCache } from "./export-cache.js";
import type { Annotation, ArchiveOutput, ExportRequest, ImageOptions, ImageOutput } from "./types.js";

export interface PlatformResult {
  /** what it was made from; `undefined`: scratch */
  readonly definition: Definition | undefined;
  readonly ref: Ref | undefined;
  readonly platform: Platform;
  readonly config: string;
  readonly baseConfig: string | undefined;
  /** what its frontend says of it */
  readonly predicates?: readonly Predicate[] | undefined;
  /** what its steps gave, by "DIGEST:INDEX", as far as it is known */
  readonly refsOfSteps?: (() => Promise<ReadonlyMap<string, Ref>>) | undefined;
  /** cache keys of `ref`, their results loaded if an inline cache is wanted */
  readonly keys: readonly KeyNode[];
}

export async function makeImage(
  engine: Engine,
  request: ExportRequest,
  result: PlatformResult,
  {
    output,
    multiPlatform,
  }: { readonly output: ImageOutput | ArchiveOutput; readonly multiPlatform: boolean },
  refs: Map<string, Ref>,
): Promise<PlatformImage> {
  const { signal } = request;
  const { epoch, image: options } = output;
  const { rewriteTimestamp, format, ociMediaTypes } = options;
  const base = result.baseConfig === undefined ? 0 : baseLayerCount(result.baseConfig);
  const chain = result.ref?.chain ?? [];
  const layers = await Promise.all(
    chain.map(async (ref, i): Promise<ImageLayer> => {
      const clamp = rewriteTimestamp && epoch !== undefined && i >= base;
      const descriptor = clamp
        ? await engine.refs.packClamped(ref, epoch, signal, format)
        : await engine.refs.pack(ref, signal, format);
      if (!clamp) refs.set(descriptor.digest, ref);
      return { descriptor, createdAt: ref.createdAt, description: ref.description };
    }),
  );
  const wantsCache = request.cacheTo.some(({ place }) => place.type === "inline");
  const digests = layers.map(({ descriptor }) => descriptor.digest);
  const image = buildImage(configOf(result, options, multiPlatform), layers, {
    epoch: epoch === undefined ? undefined : epoch * 1000,
    baseConfig: result.baseConfig,
    annotations: annotationsFor(options, "manifest", result.platform),
    ociMediaTypes,
    cache: wantsCache ? await inlineCache(engine, result.keys, digests, format, signal) : undefined,
  });
  return { image, platform: ociPlatform(result.platform) };
}

/** The result's config, or that which the output was given. */
function configOf(
  { config, platform }: PlatformResult,
  { metadata }: ImageOptions,
  isMulti: boolean,
): string {
  const key = "containerimage.config";
  return metadata[`${key}/${formatPlatform(platform)}`] ?? (isMulti ? undefined : metadata[key]) ?? config;
}

/** How the image or index is named by what holds it. */
export function topDescriptor(
  { image, kind, epoch }: ImageOutput | ArchiveOutput,
  index: ImageIndex | undefined,
  images: readonly PlatformImage[],
  results: readonly PlatformResult[],
): Descriptor {
  const descriptor = index?.descriptor ?? images[0]!.image.descriptor;
  const own = index
    ? annotationsFor(image, "index-descriptor", undefined)
    : annotationsFor(image, "manifest-descriptor", results[0]!.platform);
  const created = timeText(epoch === undefined ? Date.now() : epoch * 1000);
  const annotations = kind === "image" ? own : { "org.opencontainers.image.created": created, ...own };
  return { ...descriptor, ...(Object.keys(annotations).length > 0 && { annotations }) };
}

/** RFC 3339, whole seconds. */
function timeText(milliseconds: number): string {
  return new Date(Math.floor(milliseconds / 1000) * 1000).toISOString().replace(".000", "");
}

/** @throws BuildError ANNOTATION_INVALID */
export function checkAnnotationPlatforms(
  { annotations }: ImageOptions,
  results: readonly PlatformResult[],
): void {
  const known = new Set(results.map(({ platform }) => formatPlatform(platform)));
  const stray = annotations.find(({ platform }) => platform !== undefined && !known.has(platform));
  if (stray)
    throw new BuildError(
      "ANNOTATION_INVALID",
      `invalid annotation: no platform ${stray.platform} found in source`,
    );
}

export function indexOf(
  image: ImageOptions,
  results: readonly PlatformResult[],
  images: readonly PlatformImage[],
  attested: readonly AttestationImage[],
): ImageIndex {
  const entries = images.map((one, i) => ({
    ...one,
    annotations: annotationsFor(image, "manifest-descriptor", results[i]!.platform),
  }));
  return buildIndex([...entries, ...attested], {
    annotations: annotationsFor(image, "index", undefined),
    ociMediaTypes: image.ociMediaTypes,
  });
}

function annotationsFor(
  { annotations }: ImageOptions,
  on: Annotation["on"],
  platform: Platform | undefined,
): Record<string, string> {
  const own = platform && formatPlatform(platform);
  const isOfAll = on === "index" || on === "index-descriptor";
  const wanted = annotations
    .filter((one) => one.on === on && (isOfAll || (one.platform ?? own) === own))
    .sort((a, b) => Number(a.platform !== undefined) - Number(b.platform !== undefined));
  return Object.fromEntries(wanted.map(({ key, value }) => [key, value]));
}

function baseLayerCount(config: string): number {
  const { rootfs } = JSON.parse(config) as { rootfs?: { diff_ids?: unknown[] } };
  return rootfs?.diff_ids?.length ?? 0;
}
