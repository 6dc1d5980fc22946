// The build's cache to Azure: layers that are not there yet, then the manifest.
import {
  AzblobBackend,
  buildManifest,
  encodeManifest,
  type ResultLayer,
  type RefResult,
} from "../cache/index.js";
import { Limiter, messageOf } from "../lib/index.js";
import type { Progress, Step } from "../progress/index.js";
import type { Ref } from "../snapshot/index.js";
import type { KeyNode } from "../solver/index.js";
import type { Engine } from "./engine.js";
import type { BuildRequest, CacheExport } from "./types.js";

/** @throws what the export failed with, unless it is to be ignored */
export async function exportCache(
  engine: Engine,
  request: BuildRequest,
  keys: readonly KeyNode[],
  progress: Progress,
): Promise<void> {
  await Promise.all(
    request.cacheTo.map(async (target) => {
      try {
        await exportOne(engine, request, target, keys, progress);
      } catch (error) {
        if (!target.ignoreError || request.signal.aborted) throw error;
        progress.emit({
          kind: "warning",
          vertex: "",
          text: `cache export failed and is ignored: ${messageOf(error)}`,
        });
      }
    }),
  );
}

/** max: all results. min: those whose layers are all part of the build's result, or came from elsewhere as they are. */
async function includedIn(
  engine: Engine,
  mode: "min" | "max",
  targets: readonly KeyNode[],
  signal: AbortSignal,
): Promise<(node: KeyNode) => boolean> {
  if (mode === "max") return () => true;
  const chainOf = (node: KeyNode): readonly Ref[] =>
    (node.result?.value as RefResult | undefined)?.ref?.chain ?? [];
  const own = new Set<Ref>();
  for (const target of targets) {
    await engine.refs.descriptors(chainOf(target).at(-1), signal);
    for (const ref of chainOf(target))
      for (let one: Ref | undefined = ref; one; one = one.origin) own.add(one);
  }
  return (node) => chainOf(node).every((ref) => own.has(ref) || ref.providers.length > 0);
}

async function exportOne(
  engine: Engine,
  request: BuildRequest,
  { config, mode }: CacheExport,
  keys: readonly KeyNode[],
  progress: Progress,
): Promise<void> {
  await progress.step("exporting cache to Azure Blob Storage", async (step) => {
    const backend = new AzblobBackend(config);
    // A result whose bytes turn out to be lost is left out; the build's own result is made anew by who called us.
    for (;;) {
      const nodes = new Set<KeyNode>();
      try {
        return await exportResults(engine, backend, keys, mode, nodes, step, request.signal);
      } catch (error) {
        const lost = [...nodes].filter((node) => !isAvailable(engine, node));
        if (lost.length === 0 || lost.some((node) => keys.includes(node))) throw error;
        step.warn(`a cached result is not exported: ${messageOf(error)}`);
      }
    }
  });
}

/** @param nodes takes up the keys whose results are exported */
async function exportResults(
  engine: Engine,
  backend: AzblobBackend,
  keys: readonly KeyNode[],
  mode: "min" | "max",
  nodes: Set<KeyNode>,
  step: Step,
  signal: AbortSignal,
): Promise<void> {
  const refs = new Map<string, Ref>();
  const packing = new Limiter(4);
  const layersOf = async (node: KeyNode): Promise<readonly ResultLayer[]> => {
    const { ref } = node.result!.value as RefResult;
    if (!ref) return [];
    nodes.add(node);
    const descriptors = await packing.run(() => engine.refs.descriptors(ref, signal));
    return ref.chain.map((layer, i) => {
      const descriptor = descriptors[i]!;
      refs.set(descriptor.digest, layer);
      return { descriptor, createdAt: layer.createdAt };
    });
  };
  const manifest = await step.status("preparing build cache for export", async () => {
    const isIncluded = await includedIn(engine, mode, keys, signal);
    const includes = (node: KeyNode): boolean => isAvailable(engine, node) && isIncluded(node);
    return buildManifest({ targets: keys, includes, layersOf });
  });
  if (manifest.records.length === 0) return;
  const unique = new Map(manifest.layers.map((layer) => [layer.blob, layer]));
  await Promise.all(
    [...unique.values()]
      .sort((a, b) => b.size - a.size)
      .map(async ({ blob, mediaType, size, diffId }) => {
        if (await backend.hasBlob(blob, signal)) return;
        const descriptor = { mediaType, digest: blob, size, diffId };
        await step.status(`writing layer ${blob}`, async () =>
          backend.putBlob(descriptor, await engine.refs.blobFile(descriptor, refs.get(blob), signal), signal),
        );
      }),
  );
  await step.status("writing cache manifest", () => backend.writeManifest(encodeManifest(manifest), signal));
}

function isAvailable(engine: Engine, node: KeyNode): boolean {
  const { ref } = node.result?.value as RefResult;
  return !ref || engine.refs.isAvailable(ref);
}
