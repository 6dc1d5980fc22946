// The cache manifest as JSON. A missing parent means 0 and none is written as -1; empty lists are left out; unknown
// fields are ignored. The order of layers and records is BuildKit's, so that equal caches are equal bytes.
import { BuildError, goJson, isDigest, type Digest, type GoValue } from "../lib/index.js";
import { ociLayerType } from "../snapshot/index.js";
import type { CacheLayer, CacheManifest, CacheManifestRecord, CacheManifestResult } from "./types.js";

export const CACHE_CONFIG_MEDIA_TYPE = "application/vnd.buildkit.cacheconfig.v0";

/**
 * @param annotated layers carry what they are, as in object stores; without it an OCI manifest says so
 */
export function encodeManifest({ layers, records }: CacheManifest, annotated = true): Buffer {
  return Buffer.from(
    goJson({
      layers:
        layers.length === 0
          ? undefined
          : layers.map(({ descriptor, parent, createdAt }) => ({
              blob: descriptor.digest,
              parent: parent === 0 ? undefined : parent,
              annotations: annotated
                ? {
                    mediaType: ociLayerType(descriptor.mediaType),
                    diffID: descriptor.diffId,
                    size: descriptor.size,
                    createdAt: timeText(createdAt),
                  }
                : undefined,
            })),
      records: records.map(recordJson),
    }),
  );
}

/** The records alone, for an image's config. */
export function encodeRecords(records: readonly CacheManifestRecord[]): Buffer {
  return Buffer.from(goJson(records.map(recordJson)));
}

function recordJson({ digest, inputs, results }: CacheManifestRecord): GoValue {
  const tops = results.filter(({ chain }) => chain === undefined);
  const chains = results.flatMap(({ chain, createdAt }) => (chain ? [{ chain, createdAt }] : []));
  return {
    layers:
      tops.length === 0
        ? undefined
        : tops.map(({ layer, createdAt }) => ({ layer, createdAt: timeText(createdAt) })),
    chains:
      chains.length === 0
        ? undefined
        : chains.map(({ chain, createdAt }) => ({ layers: [...chain], createdAt: timeText(createdAt) })),
    digest,
    inputs:
      inputs.length === 0
        ? undefined
        : inputs.map((links) => links.map(({ link, selector }) => ({ selector, link }))),
  };
}

export function timeText(time: number | undefined): string {
  return time === undefined ? "0001-01-01T00:00:00Z" : new Date(time).toISOString().replace(/\.?0*Z$/, "Z");
}

/** What is said elsewhere of a layer: by the descriptors of an OCI manifest. */
export type LayerFacts = ReadonlyMap<Digest, Pick<CacheLayer, "descriptor" | "createdAt">>;

/** @throws BuildError CACHE_MANIFEST_INVALID */
export function decodeManifest(data: Buffer, facts?: LayerFacts): CacheManifest {
  const { layers, records } = (parseJson(data) ?? {}) as { layers?: unknown; records?: unknown };
  const manifest = {
    layers: list(layers).map((layer) => decodeLayer(layer, facts)),
    records: list(records).map(decodeRecord),
  };
  checkLinks(manifest);
  return manifest;
}

/**
 * Records of an image's config; its layers stand one on another.
 * @throws BuildError CACHE_MANIFEST_INVALID
 */
export function decodeRecords(data: Buffer, layers: readonly Omit<CacheLayer, "parent">[]): CacheManifest {
  const manifest = {
    layers: layers.map((layer, i) => ({ ...layer, parent: i - 1 })),
    records: list(parseJson(data)).map(decodeRecord),
  };
  checkLinks(manifest);
  return manifest;
}

function parseJson(data: Buffer): unknown {
  try {
    return JSON.parse(data.toString());
  } catch (cause) {
    throw new BuildError("CACHE_MANIFEST_INVALID", "cache manifest is not JSON", { cause });
  }
}

function decodeLayer(value: unknown, facts: LayerFacts | undefined): CacheLayer {
  const layer = (value ?? {}) as Record<string, unknown>;
  const parent = integer(layer["parent"] ?? 0);
  const blob = digest(layer["blob"], "layer");
  if (facts) {
    const known = facts.get(blob);
    if (!known) throw invalid(`its index does not name layer ${blob}`);
    return { ...known, parent };
  }
  const annotations = (layer["annotations"] ?? {}) as Record<string, unknown>;
  const descriptor = {
    mediaType: typeof annotations["mediaType"] === "string" ? annotations["mediaType"] : "",
    digest: blob,
    size: integer(annotations["size"] ?? 0),
    diffId: digest(annotations["diffID"] ?? annotations["diffId"], "layer"),
  };
  return { parent, descriptor, createdAt: timeOf(annotations["createdAt"]) };
}

function decodeRecord(value: unknown): CacheManifestRecord {
  const record = (value ?? {}) as Record<string, unknown>;
  return {
    digest: digest(record["digest"], "record"),
    inputs: list(record["inputs"]).map((links) =>
      list(links).map((link) => {
        const { link: index, selector } = (link ?? {}) as { link?: unknown; selector?: unknown };
        return {
          link: integer(index ?? 0),
          selector: selector === undefined || selector === "" ? undefined : digest(selector, "selector"),
        };
      }),
    ),
    results: [...list(record["layers"]).map(decodeResult), ...list(record["chains"]).flatMap(decodeChain)],
  };
}

function decodeResult(value: unknown): CacheManifestResult {
  const { layer, createdAt } = (value ?? {}) as { layer?: unknown; createdAt?: unknown };
  return { layer: integer(layer ?? 0), createdAt: timeOf(createdAt) };
}

function decodeChain(value: unknown): CacheManifestResult[] {
  const { layers, createdAt } = (value ?? {}) as { layers?: unknown; createdAt?: unknown };
  const chain = list(layers).map(integer);
  return chain.length === 0 ? [] : [{ layer: chain.at(-1)!, chain, createdAt: timeOf(createdAt) }];
}

/** Every index names something, and layers and records don't go round in circles. */
function checkLinks({ layers, records }: CacheManifest): void {
  const seen = new Map<number, boolean>();
  for (let start = 0; start < layers.length; start++) {
    const path: number[] = [];
    for (let at = start; at !== -1 && seen.get(at) !== true; at = layers[at]!.parent) {
      const { parent } = layers[at]!;
      if (seen.get(at) === false || (parent !== -1 && layers[parent] === undefined))
        throw invalid(`layer ${at} has no valid parent`);
      seen.set(at, false);
      path.push(at);
    }
    for (const at of path) seen.set(at, true);
  }
  const state = new Map<number, "open" | "done">();
  const indexes = records.map((_, i) => i);
  for (const start of indexes) {
    const stack: { at: number; parents: number[] }[] = [];
    const enter = (at: number): void => {
      const record = records[at];
      if (!record) throw invalid(`a record links to record ${at}, which is not there`);
      if (state.get(at) === "done") return;
      if (state.get(at) === "open") throw invalid("its records form a circle");
      if (record.results.some(({ layer, chain = [layer] }) => chain.some((one) => layers[one] === undefined)))
        throw invalid(`record ${at} names a layer that is not there`);
      state.set(at, "open");
      stack.push({ at, parents: record.inputs.flatMap((links) => links.map(({ link }) => link)) });
    };
    enter(start);
    while (stack.length > 0) {
      const top = stack[stack.length - 1]!;
      const next = top.parents.pop();
      if (next !== undefined) enter(next);
      else {
        state.set(top.at, "done");
        stack.pop();
      }
    }
  }
}

function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

function digest(value: unknown, what: string): Digest {
  if (typeof value !== "string" || !isDigest(value)) throw invalid(`a ${what} has no digest`);
  return value;
}

function integer(value: unknown): number {
  if (typeof value !== "number" || !Number.isInteger(value)) throw invalid("an index is not a number");
  return value;
}

/** Milliseconds since 1970; `undefined` for what is no time or Go's zero. */
export function timeOf(value: unknown): number | undefined {
  const parsed = typeof value === "string" ? Date.parse(value) : NaN;
  return Number.isNaN(parsed) || parsed < 0 ? undefined : parsed;
}

function invalid(what: string): BuildError {
  return new BuildError("CACHE_MANIFEST_INVALID", `cache manifest cannot be used: ${what}`);
}
