// What a scanner cannot know: which layer of the image a file came with. Source of the form: what BuildKit adds to SPDX
// documents of an image itself.
import type { Predicate } from "../exporter/index.js";
import type { GoValue } from "../lib/index.js";
import type { LayerDescriptor, Ref } from "../snapshot/index.js";
import type { Job } from "./job.js";

interface SpdxFile {
  readonly fileName?: string;
  readonly comment?: string;
}

interface SpdxDocument {
  readonly spdxVersion: string;
  readonly files?: readonly SpdxFile[] | null;
  readonly creationInfo?: { readonly creators?: readonly string[] | null } | null;
}

/** @param layers of the image, as many as `ref` has; else the predicate stays as it is */
export async function withLayersOfFiles(
  predicate: Predicate,
  ref: Ref,
  layers: readonly LayerDescriptor[],
  { engine: { refs, worker }, signal }: Job,
): Promise<Predicate> {
  const document: unknown = predicate.value;
  if (!isSpdx(document) || layers.length !== ref.chain.length) return predicate;
  const { creationInfo } = document;
  const files = document.files ?? [];
  const names = files.map(({ fileName = "" }) => fileName);
  const folders = await refs.folders(ref, signal);
  const found = await worker.perform("locate", { layers: folders, paths: names }, signal);
  const value = {
    ...document,
    creationInfo: {
      ...creationInfo,
      creators: [...(creationInfo?.creators ?? []), "Tool: bluekiln"],
    },
    files: files.map((file, i) => {
      const layer = layers[found[i] ?? -1];
      return file.comment || !layer ? file : { ...file, comment: `layerID: ${layer.digest}` };
    }),
  };
  return { ...predicate, value: value as unknown as GoValue };
}

function isSpdx(value: unknown): value is SpdxDocument {
  const { spdxVersion, files } = (value ?? {}) as { spdxVersion?: unknown; files?: unknown };
  return typeof spdxVersion === "string" && Array.isArray(files ?? []);
}
