// What the user asked for with --output, --push and -t.
import { mkdir } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { PassThrough } from "node:stream";
import { DiskStore } from "../cache/index.js";
import type { Descriptor } from "../content/index.js";
import { BuildError, codeOf, messageOf, type Digest } from "../lib/index.js";
import {
  buildAttestation,
  buildImage,
  buildIndex,
  pushImage,
  pushIndex,
  writeArchive,
  type AttestationImage,
  type BlobSource,
  type ImageIndex,
  type ImageLayer,
  type PlatformImage,
  type Predicate,
} from "../exporter/index.js";
import { formatPlatform } from "../frontend/index.js";
import type { Definition, Platform } from "../llb/index.js";
import type { Step } from "../progress/index.js";
import {
  formatReference,
  parseReference,
  withDefaultTag,
  type Reference,
  type RegistryClient,
} from "../registry/index.js";
import type { LayerDescriptor, Ref } from "../snapshot/index.js";
import type { KeyNode } from "../solver/index.js";
import type { Engine } from "./engine.js";
import { inlineCache } from "./export-cache.js";
import { exportFiles } from "./export-files.js";
import type { Job } from "./job.js";
import { isOfIndex } from "./image-options.js";
import { provenance } from "./provenance.js";
import type {
  Annotation,
  ArchiveOutput,
  Epoch,
  ExportRequest,
  FilesOutput,
  ImageOptions,
  ImageOutput,
  LayoutDestination,
  Output,
} from "./types.js";

export interface PlatformResult {
  /** what it was made from; `undefined`: scratch */
  readonly definition: Definition | undefined;
  readonly ref: Ref | undefined;
  readonly platform: Platform;
  readonly config: string;
  readonly baseConfig: string | undefined;
  /** what its frontend says of it */
  readonly predicates?: readonly Predicate[];
  /** what its steps gave, by "DIGEST:INDEX", as far as it is known */
  readonly refsOfSteps?: (() => Promise<ReadonlyMap<string, Ref>>) | undefined;
  /** cache keys of `ref`, their results loaded if an inline cache is wanted */
  readonly keys: readonly KeyNode[];
}

/** What is exported, and what its frontend wants of outputs. */
export interface ExportedResults {
  readonly results: readonly PlatformResult[];
  readonly multiPlatform: boolean;
  readonly annotations?: readonly Annotation[];
  readonly epoch?: Epoch;
  readonly imageName?: string | undefined;
}

/** @returns metadata of the build */
export async function exportOutputs(
  job: Job,
  request: ExportRequest,
  results: ExportedResults,
): Promise<Record<string, unknown>> {
  const metadata: Record<string, unknown> = {};
  for (const output of request.outputs)
    Object.assign(metadata, await exportOne(job, request, withFrontend(request, output, results), results));
  return metadata;
}

/** The output with what its frontend says of it; its own epoch counts more, the frontend's annotations do. */
function withFrontend(
  request: ExportRequest,
  output: Output,
  { annotations = [], epoch, imageName }: ExportedResults,
): Output {
  const own = { ...output, epoch: output.epoch ?? epoch };
  if (isFiles(own)) return own;
  const all = [...request.annotations, ...own.image.annotations, ...annotations];
  const ociMediaTypes = own.image.ociMediaTypes || all.some(isOfIndex);
  const isNamedThere = own.names.length === 1 && own.names[0] === "*" && imageName !== undefined;
  const names = isNamedThere ? imageName.split(",") : own.names;
  return { ...own, names, image: { ...own.image, annotations: all, ociMediaTypes } };
}

async function exportOne(
  job: Job,
  request: ExportRequest,
  output: Output,
  { results, multiPlatform }: ExportedResults,
): Promise<Record<string, unknown>> {
  const { engine, registry, progress } = job;
  const { signal } = request;
  if (isFiles(output)) {
    const name = output.kind === "local" ? "exporting to client directory" : "exporting to client tarball";
    await progress.step(name, async (step) => {
      const predicates = await Promise.all(
        results.map((result) => predicatesOf(job, request, false, result)),
      );
      await exportFiles(engine, request, output, { results, predicates, multiPlatform }, step);
    });
    return {};
  }
  const given = output.names.map(parseReference);
  if (isImage(output) && output.byDigest)
    for (const name of given)
      if (name.tag !== undefined)
        throw new BuildError("OUTPUT_INVALID", `can't push tagged ref ${formatReference(name)} by digest`);
  const names = given.map(withDefaultTag);
  return progress.step(
    output.kind === "image" ? "exporting to image" : `exporting to ${output.kind} image format`,
    async (step) => {
      const refs = new Map<string, Ref>();
      const images = await step.status("exporting layers", () =>
        Promise.all(
          results.map((result) => makeImage(engine, request, result, { output, multiPlatform }, refs)),
        ),
      );
      for (const { image } of images) {
        await step.status(`exporting manifest ${image.descriptor.digest}`, async () => undefined);
        await step.status(`exporting config ${image.configDescriptor.digest}`, async () => undefined);
      }
      const attested = await attest(job, request, output, results, images, names);
      for (const { image } of attested)
        await step.status(`exporting attestation manifest ${image.descriptor.digest}`, async () => undefined);
      const isIndex = multiPlatform || attested.length > 0;
      const index = isIndex ? indexOf(output.image, results, images, attested) : undefined;
      checkAnnotationPlatforms(output.image, results);
      if (!index && output.image.annotations.some(({ on }) => on === "index" || on === "index-descriptor"))
        throw new BuildError(
          "ANNOTATION_INVALID",
          "index annotations not supported for single platform export",
        );
      if (index)
        await step.status(`exporting manifest list ${index.descriptor.digest}`, async () => undefined);
      const source = blobSource(engine, refs, signal);
      const everything = [...images, ...attested];
      const top = topDescriptor(output, index, images, results);
      job.exported.push(top);
      if (isImage(output)) {
        if (output.insecure) for (const { domain } of names) registry.allowInsecure(domain);
        if (output.push)
          for (const name of names) {
            const target = output.byDigest ? withoutTag(name) : name;
            await push(registry, everything, index, target, source, step, signal);
          }
      } else {
        // they come side by side, though they are written one after another
        const layers = everything.flatMap(({ image }) => image.layers);
        for (const layer of layers) source.file(layer).catch(() => undefined);
        await step.status("sending tarball", () =>
          writeTarball(output, top, everything, index, names, source, signal),
        );
      }
      const shown = namesOf(output, names, top.digest);
      return {
        ...(!index && { "containerimage.config.digest": images[0]!.image.configDescriptor.digest }),
        "containerimage.descriptor": top,
        "containerimage.digest": top.digest,
        ...(shown !== "" && { "image.name": shown }),
      };
    },
  );
}

function namesOf(output: ImageOutput | ArchiveOutput, names: readonly Reference[], digest: Digest): string {
  if (names.length > 0 || !isImage(output) || output.danglingPrefix === "")
    return names.map(formatReference).join(",");
  return `${output.danglingPrefix}@${digest}`;
}

/** For a manifest that is found by its digest alone. */
function withoutTag(name: Reference): Reference {
  return { ...name, tag: undefined };
}

function isFiles(output: Output): output is FilesOutput {
  return output.kind === "local" || output.kind === "tar";
}

function isImage(output: ImageOutput | ArchiveOutput): output is ImageOutput {
  return output.kind === "image";
}

async function makeImage(
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
  const { OS, Architecture, Variant } = result.platform;
  return {
    image,
    platform: {
      os: OS,
      architecture: Architecture,
      ...(Variant !== undefined && Variant !== "" && { variant: Variant }),
    },
  };
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
function topDescriptor(
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
function checkAnnotationPlatforms({ annotations }: ImageOptions, results: readonly PlatformResult[]): void {
  const known = new Set(results.map(({ platform }) => formatPlatform(platform)));
  const stray = annotations.find(({ platform }) => platform !== undefined && !known.has(platform));
  if (stray)
    throw new BuildError(
      "ANNOTATION_INVALID",
      `invalid annotation: no platform ${stray.platform} found in source`,
    );
}

function indexOf(
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

/**
 * What is said of a result, as far as it is wanted with such an output.
 * @param image the result as an image; its layers are told of
 */
async function predicatesOf(
  { materials }: Job,
  { provenance: requested }: ExportRequest,
  isImage: boolean,
  result: PlatformResult,
  image?: PlatformImage,
): Promise<readonly Predicate[]> {
  const { definition, platform, predicates = [] } = result;
  const request = requested?.();
  if (!request?.isWanted || (request.isInlineOnly && !isImage)) return predicates;
  const layers = request.mode === "max" && image ? await stepLayers(result, image) : new Map();
  return [...predicates, provenance(request, definition, platform, materials, layers)];
}

/** The image's layers that each step's output has, by "DIGEST:INDEX"; outputs with others are left out. */
async function stepLayers(
  { ref, refsOfSteps }: PlatformResult,
  { image }: PlatformImage,
): Promise<ReadonlyMap<string, readonly Descriptor[]>> {
  const known = new Map((ref?.chain ?? []).map((one, i) => [one.id, image.layers[i]!]));
  const found = [...((await refsOfSteps?.()) ?? [])].flatMap(([name, { chain }]) => {
    const layers = chain.flatMap(({ id }) => known.get(id) ?? []);
    return layers.length === chain.length ? [[name, layers] as const] : [];
  });
  return new Map(found);
}

async function attest(
  job: Job,
  request: ExportRequest,
  output: ImageOutput | ArchiveOutput,
  results: readonly PlatformResult[],
  images: readonly PlatformImage[],
  names: readonly Reference[],
): Promise<readonly AttestationImage[]> {
  const { ociMediaTypes, ociArtifact } = output.image;
  if (!ociMediaTypes) return [];
  const said = await Promise.all(
    images.map((image, i) => predicatesOf(job, request, isImage(output), results[i]!, image)),
  );
  const attested = images.flatMap((image, i) =>
    said[i]!.length > 0 ? [buildAttestation(image, names, said[i]!, ociArtifact)] : [],
  );
  for (const { blobs } of attested) for (const blob of blobs) await job.engine.blobs.write(blob);
  return attested;
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

function blobSource(engine: Engine, refs: ReadonlyMap<string, Ref>, signal: AbortSignal): BlobSource {
  return {
    file: (descriptor: LayerDescriptor) =>
      engine.refs.blobFile(descriptor, refs.get(descriptor.digest), signal),
    repositoryOf: (descriptor, domain) => {
      const providers = refs.get(descriptor.digest)?.providers ?? [];
      const near = providers.find(({ name }) => name.startsWith(`${domain}/`));
      return near?.name.slice(domain.length + 1);
    },
  };
}

async function push(
  registry: RegistryClient,
  images: readonly PlatformImage[],
  index: ImageIndex | undefined,
  name: Reference,
  source: BlobSource,
  step: Step,
  signal: AbortSignal,
): Promise<void> {
  const text = formatReference(name);
  try {
    await step.status(`pushing ${text}`, () => {
      const built = images.map(({ image }) => image);
      if (index) return pushIndex(index, built, name, registry, source, signal);
      return pushImage(built[0]!, name, registry, source, signal);
    });
  } catch (error) {
    if (signal.aborted) throw error;
    const message = messageOf(error);
    const prefix = message.startsWith("failed to push") ? "" : `failed to push ${text}: `;
    throw new BuildError(codeOf(error) ?? "PUSH_FAILED", `${prefix}${message}`, { cause: error });
  }
}

async function writeTarball(
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
  if (typeof dest === "string" && !output.isTar) {
    if (dest === "-")
      throw new BuildError("OUTPUT_INVALID", `dest is required for ${kind} output without tar`);
    const store = new DiskStore(resolve(dest));
    await writeLayout(store, images, index, source);
    return nameImage(store, top, names.map(formatReference));
  }
  if (typeof dest === "string") {
    if (dest !== "-") await mkdir(dirname(resolve(dest)), { recursive: true });
    await writeArchive(kind, dest === "-" ? process.stdout : dest, { top, images, index, names }, source);
    return;
  }
  if (!output.isTar) return writeLayout(dest.layout, images, index, source);
  const stream = new PassThrough();
  const metadata = {
    "containerimage.digest": top.digest,
    ...(names.length > 0 && { "image.name": names.map(formatReference).join(",") }),
  };
  const taken = dest.takeFile(stream, metadata, signal);
  taken.catch((error: unknown) => stream.destroy(error as Error));
  await writeArchive(kind, stream, { top, images, index, names }, source);
  stream.end();
  await taken;
}

/** The top comes last: what it names is there. */
async function writeLayout(
  layout: LayoutDestination,
  images: readonly PlatformImage[],
  index: ImageIndex | undefined,
  source: BlobSource,
): Promise<void> {
  for (const { image } of images) {
    for (const layer of image.layers) await layout.putFile(layer, await source.file(layer));
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
