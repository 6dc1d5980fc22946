// What the user asked for with --output, --push and -t.
import { BuildError, codeOf, messageOf, type Digest } from "../lib/index.js";
import {
  pushImage,
  pushIndex,
  type BlobSource,
  type ImageIndex,
  type PlatformImage,
} from "../exporter/index.js";
import type { Step } from "../progress/index.js";
import {
  formatReference,
  parseReference,
  withDefaultTag,
  type Reference,
  type RegistryClient,
} from "../registry/index.js";
import type { LayerDescriptor, Ref } from "../snapshot/index.js";
import { attest, predicatesOf } from "./attest.js";
import type { Engine } from "./engine.js";
import { exportFiles } from "./export-files.js";
import { isOfIndex } from "./image-options.js";
import type { Job } from "./job.js";
import {
  checkAnnotationPlatforms,
  indexOf,
  makeImage,
  topDescriptor,
  type PlatformResult,
} from "./make-image.js";
import type {
  ArchiveOutput,
  ExportRequest,
  FilesOutput,
  ImageOutput,
  Output,
  OutputWishes,
} from "./types.js";
import { writeTarball } from "./write-archive.js";

export interface ExportedResults extends OutputWishes {
  readonly results: readonly PlatformResult[];
  readonly multiPlatform: boolean;
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
