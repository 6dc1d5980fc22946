// What is said of results: provenance of our own, and what frontends say.
import type { Descriptor } from "../content/index.js";
import {
  buildAttestation,
  type AttestationImage,
  type PlatformImage,
  type Predicate,
} from "../exporter/index.js";
import { SPDX } from "../frontend/index.js";
import type { Reference } from "../registry/index.js";
import type { Job } from "./job.js";
import type { PlatformResult } from "./make-image.js";
import { provenance } from "./provenance.js";
import { withLayersOfFiles } from "./sbom-layers.js";
import type { ArchiveOutput, ExportRequest, ImageOutput } from "./types.js";

/**
 * What is said of a result, as far as it is wanted with such an output.
 * @param image the result as an image; its layers are told of
 */
export async function predicatesOf(
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

export async function attest(
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
    images.map(async (image, i) => {
      const result = results[i]!;
      const predicates = await predicatesOf(job, request, output.kind === "image", result, image);
      return Promise.all(predicates.map((one) => supplemented(one, result, image, job)));
    }),
  );
  const attested = images.flatMap((image, i) =>
    said[i]!.length > 0 ? [buildAttestation(image, names, said[i]!, ociArtifact)] : [],
  );
  for (const { blobs } of attested) for (const blob of blobs) await job.engine.blobs.write(blob);
  return attested;
}

/** What a scanner says of the image, with what only its builder knows. */
async function supplemented(
  predicate: Predicate,
  { ref }: PlatformResult,
  { image }: PlatformImage,
  job: Job,
): Promise<Predicate> {
  const isWanted = predicate.isSbomCore && predicate.type === SPDX && ref;
  return isWanted ? withLayersOfFiles(predicate, ref, image.layers, job) : predicate;
}
