// The cache manifest as JSON. A missing parent means 0 and none is written as -1; empty lists are left out; unknown
// fields are ignored. The order of layers and records is BuildKit's, so that equal caches are equal bytes.
import { BuildError, goJson, isDigest, type Digest } from "../lib/index.js";
import type { CacheLayer, CacheManifest, CacheManifestRecord } from "./types.js";

export const CACHE_CONFIG_MEDIA_TYPE = "application/vnd.buildkit.cacheconfig.v0";

export function encodeManifest({ layers, records }: CacheManifest): Buffer {
  return Buffer.from(
    goJson({
      layers:
        layers.length === 0
          ? undefined
          : layers.map((layer) => ({
              blob: layer.blob,
              parent: layer.parent === 0 ? undefined : layer.parent,
              annotations: {
                mediaType: layer.mediaType,
                diffID: layer.diffId,
                size: layer.size,
                createdAt: layer.createdAt === undefined ? "0001-01-01T00:00:00Z" : timeText(layer.createdAt),
              },
            })),
      records: records.map((record) => ({
        layers:
          record.results.length === 0
            ? undefined
            : record.results.map(({ layer, createdAt }) => ({
                layer,
                createdAt: createdAt === undefined ? "0001-01-01T00:00:00Z" : timeText(createdAt),
              })),
        digest: record.digest,
        inputs:
          record.inputs.length === 0
            ? undefined
            : record.inputs.map((links) => links.map(({ link, selector }) => ({ selector, link }))),
      })),
    }),
  );
}

function timeText(time: number): string {
  return new Date(time).toISOString().replace(/\.?0*Z$/, "Z");
}

/** @throws BuildError CACHE_MANIFEST_INVALID */
export function decodeManifest(data: Buffer): CacheManifest {
  let json: unknown;
  try {
    json = JSON.parse(data.toString());
  } catch (cause) {
    throw new BuildError("CACHE_MANIFEST_INVALID", "cache manifest is not JSON", { cause });
  }
  const { layers, records } = (json ?? {}) as { layers?: unknown; records?: unknown };
  const manifest = { layers: list(layers).map(decodeLayer), records: list(records).map(decodeRecord) };
  checkLinks(manifest);
  return manifest;
}

function decodeLayer(value: unknown): CacheLayer {
  const layer = (value ?? {}) as Record<string, unknown>;
  const annotations = (layer["annotations"] ?? {}) as Record<string, unknown>;
  return {
    blob: digest(layer["blob"], "layer"),
    parent: integer(layer["parent"] ?? 0),
    mediaType: typeof annotations["mediaType"] === "string" ? annotations["mediaType"] : "",
    diffId: digest(annotations["diffID"] ?? annotations["diffId"], "layer"),
    size: integer(annotations["size"] ?? 0),
    createdAt: time(annotations["createdAt"]),
  };
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
    results: list(record["layers"]).map((result) => {
      const { layer, createdAt } = (result ?? {}) as { layer?: unknown; createdAt?: unknown };
      return { layer: integer(layer ?? 0), createdAt: time(createdAt) };
    }),
  };
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
      if (record.results.some(({ layer }) => layers[layer] === undefined))
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

function time(value: unknown): number | undefined {
  const parsed = typeof value === "string" ? Date.parse(value) : NaN;
  return Number.isNaN(parsed) || parsed < 0 ? undefined : parsed;
}

function invalid(what: string): BuildError {
  return new BuildError("CACHE_MANIFEST_INVALID", `cache manifest cannot be used: ${what}`);
}
