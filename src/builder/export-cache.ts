// The build's cache to where it was asked for: layers that are not there yet, then the manifest.
import {
  buildManifest,
  inlineRecords,
  timeoutOf,
  type CacheExport,
  type CachePlaces,
  type CacheManifest,
  type CacheTarget,
  type ResultLayer,
  type RefResult,
} from "../cache/index.js";
import { formatBytes, Limiter, messageOf, within, type Digest } from "../lib/index.js";
import type { Progress, Step } from "../progress/index.js";
import type { LayerDescriptor, LayerFormat, Ref } from "../snapshot/index.js";
import type { KeyNode } from "../solver/index.js";
import type { Engine } from "./engine.js";
import type { ExportRequest } from "./types.js";

/**
 * Caches that go somewhere of their own; an inline cache goes with the image.
 * @throws what an export failed with, unless it is to be ignored
 */
export async function exportCaches(
  engine: Engine,
  { cacheTo, signal }: ExportRequest,
  keys: readonly KeyNode[],
  places: CachePlaces,
  progress: Progress,
): Promise<void> {
  await Promise.all(
    cacheTo.map(async ({ place, mode, ignoreError, format, form }) => {
      if (place.type === "inline") return;
      const target = places.open(place, form);
      const limited = within(signal, timeoutOf(place), target.title);
      try {
        await progress.step(target.title, (step) =>
          exportTo(target, { engine, keys, mode, format, step, signal: limited }).catch((error: unknown) => {
            throw limited.aborted ? (limited.reason as Error) : error;
          }),
        );
      } catch (error) {
        if (!ignoreError || signal.aborted) throw error;
        progress.emit({
          kind: "warning",
          vertex: "",
          text: `cache export failed and is ignored: ${messageOf(error)}`,
        });
      }
    }),
  );
}

/** Lets targets look at what is there before the build begins; what they cannot see, the export tells of. */
export function beginExports({ cacheTo, signal }: ExportRequest, places: CachePlaces): void {
  for (const { place, form } of cacheTo) {
    if (place.type === "inline") continue;
    places
      .open(place, form)
      .begin?.(signal)
      .catch(() => undefined);
  }
}

interface Export {
  readonly engine: Engine;
  readonly keys: readonly KeyNode[];
  readonly mode: CacheExport["mode"];
  readonly format: LayerFormat;
  readonly step: Step;
  readonly signal: AbortSignal;
}

interface PreparedCache {
  readonly manifest: CacheManifest;
  /** by blob */
  readonly refs: ReadonlyMap<Digest, Ref>;
}

/** A result whose bytes turn out to be lost is left out; the build's own result is made anew by who called us. */
async function exportTo(target: CacheTarget, task: Export): Promise<void> {
  const { engine, keys, step } = task;
  for (;;) {
    const nodes = new Set<KeyNode>();
    try {
      return await exportResults(target, task, nodes);
    } catch (error) {
      const lost = [...nodes].filter((node) => !isAvailable(engine, node));
      if (lost.length === 0 || lost.some((node) => keys.includes(node))) throw error;
      step.warn(`a cached result is not exported: ${messageOf(error)}`);
    }
  }
}

/** @param nodes takes up the keys whose results are exported */
async function exportResults(target: CacheTarget, task: Export, nodes: Set<KeyNode>): Promise<void> {
  const { engine, step, signal } = task;
  const { manifest, refs } = await step.status("preparing build cache for export", () =>
    prepare(task, nodes),
  );
  if (manifest.records.length === 0) return;
  if (manifest.layers.length === 0 && target.needsLayers)
    return step.status("skipping cache export for empty result", async () => undefined);
  const layers = [
    ...new Map(manifest.layers.map(({ descriptor }) => [descriptor.digest, descriptor])).values(),
  ];
  const [sent, present] = [new Tally(), new Tally()];
  const start = performance.now();
  await Promise.all(
    layers
      .sort((a, b) => b.size - a.size)
      .map(async (descriptor) => {
        if (await target.hasBlob(descriptor, signal)) return present.add(descriptor);
        const ref = refs.get(descriptor.digest);
        const blob = {
          file: () => engine.refs.blobFile(descriptor, ref, signal),
          providers: (ref?.providers ?? []).map(({ name }) => name),
        };
        await step.status(
          `writing layer ${descriptor.digest}`,
          (moved) => target.putBlob(descriptor, blob, moved, signal),
          descriptor.size,
        );
        sent.add(descriptor);
      }),
  );
  await target.writeManifest(manifest, step, signal);
  const { retries = 0 } = target.traffic ?? {};
  const tried = retries > 0 ? `, ${retries} ${retries === 1 ? "retry" : "retries"}` : "";
  const rate = sent.rate((performance.now() - start) / 1000);
  await step.status(`${sent.text} sent${rate}, ${present.text} there already${tried}`, async () => undefined);
}

/** Layers and their bytes. */
class Tally {
  #count = 0;
  #bytes = 0;

  add({ size }: LayerDescriptor): void {
    this.#count++;
    this.#bytes += size;
  }

  /** @param seconds that it took; too few say nothing */
  rate(seconds: number): string {
    return this.#bytes === 0 || seconds < 0.1 ? "" : ` at ${formatBytes(this.#bytes / seconds)}/s`;
  }

  get text(): string {
    return `${this.#count} ${this.#count === 1 ? "layer" : "layers"} (${formatBytes(this.#bytes)})`;
  }
}

async function prepare(
  { engine, keys, mode, format, signal }: Omit<Export, "step">,
  nodes: Set<KeyNode>,
): Promise<PreparedCache> {
  const refs = new Map<Digest, Ref>();
  const packing = new Limiter(4);
  const layersOf = async (node: KeyNode): Promise<readonly ResultLayer[]> => {
    const { ref } = node.result!.value as RefResult;
    if (!ref) return [];
    nodes.add(node);
    const descriptors = await packing.run(() => engine.refs.descriptors(ref, signal, format));
    return ref.chain.map((layer, i) => {
      const descriptor = descriptors[i]!;
      refs.set(descriptor.digest, layer);
      return { descriptor, createdAt: layer.createdAt };
    });
  };
  const isIncluded = await includedIn(engine, mode, keys, format, signal);
  const includes = (node: KeyNode): boolean => isAvailable(engine, node) && isIncluded(node);
  return { manifest: await buildManifest({ targets: keys, includes, layersOf }), refs };
}

/** max: all results. min: those whose layers are all part of the build's result, or came from elsewhere as they are. */
async function includedIn(
  engine: Engine,
  mode: CacheExport["mode"],
  targets: readonly KeyNode[],
  format: LayerFormat,
  signal: AbortSignal,
): Promise<(node: KeyNode) => boolean> {
  if (mode === "max") return () => true;
  const chainOf = (node: KeyNode): readonly Ref[] =>
    (node.result?.value as RefResult | undefined)?.ref?.chain ?? [];
  const own = new Set<Ref>();
  for (const target of targets) {
    await engine.refs.descriptors(chainOf(target).at(-1), signal, format);
    for (const ref of chainOf(target))
      for (let one: Ref | undefined = ref; one; one = one.origin) own.add(one);
  }
  return (node) => chainOf(node).every((ref) => own.has(ref) || ref.providers.length > 0);
}

function isAvailable(engine: Engine, node: KeyNode): boolean {
  const { ref } = node.result?.value as RefResult;
  return !ref || engine.refs.isAvailable(ref);
}

/**
 * The records that an image's config takes along.
 * @param keys of the image's result
 * @param layers of the image, lowest first
 */
export async function inlineCache(
  engine: Engine,
  keys: readonly KeyNode[],
  layers: readonly Digest[],
  format: LayerFormat,
  signal: AbortSignal,
): Promise<Buffer | undefined> {
  const { manifest } = await prepare({ engine, keys, mode: "min", format, signal }, new Set());
  return inlineRecords(manifest, layers);
}
