// Disk usage of a state folder, record by record.
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { BlobStore, Database, StateDir, Table } from "../content/index.js";
import type { Digest } from "../lib/index.js";
import { layerPath, type CacheMounts, type LayerRecord, type RefStore } from "../snapshot/index.js";
import type { Worker } from "../worker/index.js";
import { usedLayers, type UsedLayer } from "./choose.js";
import type { UsageRecord } from "./types.js";

/** Id of the record that stands for all blobs that are no layers. */
export const CONTENT = "content";

export interface UsageParts {
  readonly state: StateDir;
  readonly database: Database;
  readonly blobs: BlobStore;
  readonly refs: RefStore;
  readonly mounts: CacheMounts;
  readonly worker: Worker;
}

export class DiskUsage {
  readonly #parts: UsageParts;
  /** bytes of unpacked layers, which never change */
  readonly #sizes: Table<number>;

  constructor(parts: UsageParts) {
    this.#parts = parts;
    this.#sizes = parts.database.table("sizes");
  }

  async records(signal: AbortSignal): Promise<UsageRecord[]> {
    const { database, refs } = this.#parts;
    const { layers, oldest } = database.transaction(() => ({
      layers: [...refs.table.all()],
      oldest: refs.activity.oldest(),
    }));
    // what a cache mount began with stays as long as that does, but nobody works with it
    const used = usedLayers(layers, { oldest, bases: new Set() });
    const folders = await this.#folderSizes(layers, signal);
    const blobs = new Map(this.#parts.blobs.list().map((blob) => [blob.digest, blob]));
    const records = layers.map((layer): UsageRecord => {
      let size = folders.get(layer.id) ?? 0;
      for (const digest of layerBlobs(layer.record)) {
        size += blobs.get(digest)?.size ?? 0;
        // counted once, with the first layer that has it
        blobs.delete(digest);
      }
      return layerRecord(layer, size, used.has(layer.id));
    });
    const others = [...blobs.values()];
    return [
      ...records,
      ...(others.length > 0 ? [contentRecord(others)] : []),
      ...(await this.#mountRecords(signal)),
    ];
  }

  async #folderSizes(
    layers: readonly UsedLayer[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<number, number>> {
    const { state, worker, database } = this.#parts;
    const sizes = new Map<number, number>();
    const unknown: number[] = [];
    for (const { id } of layers) {
      const size = this.#sizes.get(String(id));
      if (size !== undefined) sizes.set(id, size);
      else if (existsSync(join(state.root, layerPath(id)))) unknown.push(id);
    }
    const found = await worker.perform("usage", { folders: unknown.map(layerPath) }, signal);
    await database.queued(() =>
      unknown.forEach((id, i) => {
        const size = found[i];
        if (size === undefined) return;
        sizes.set(id, size);
        void this.#sizes.put(String(id), size);
      }),
    );
    return sizes;
  }

  async #mountRecords(signal: AbortSignal): Promise<UsageRecord[]> {
    const mounts = this.#parts.mounts.list();
    const folders = mounts.map(({ path }) => path);
    const sizes = await this.#parts.worker.perform("usage", { folders }, signal);
    return mounts.map(({ name, description, base, createdAt, usedAt, inUse }, i) => ({
      id: name,
      kind: "exec.cachemount",
      parents: base === undefined ? [] : [String(base)],
      createdAt,
      lastUsedAt: usedAt,
      usageCount: 1,
      size: sizes[i] ?? 0,
      description,
      mutable: true,
      inUse,
    }));
  }

  /** In a transaction: layers that are no more. */
  forget(ids: ReadonlySet<number>): void {
    for (const id of ids) void this.#sizes.remove(String(id));
  }
}

/** Layers that cache mounts begin with. */
export function cacheBases(mounts: CacheMounts): ReadonlySet<number> {
  return new Set(mounts.list().flatMap(({ base }) => base ?? []));
}

export function layerBlobs({ blob, variants = [] }: LayerRecord): Digest[] {
  return [...(blob ? [blob] : []), ...variants].map(({ digest }) => digest);
}

function layerRecord({ id, record, use }: UsedLayer, size: number, inUse: boolean): UsageRecord {
  const { parent, origin, createdAt, description, kind = "regular" } = record;
  return {
    id: String(id),
    kind,
    parents: [parent, origin].flatMap((one) => (one === undefined ? [] : [String(one)])),
    createdAt,
    lastUsedAt: use.usedAt,
    usageCount: use.count,
    size,
    description,
    mutable: false,
    inUse,
  };
}

function contentRecord(blobs: readonly { readonly size: number; readonly writtenAt: number }[]): UsageRecord {
  const times = blobs.map(({ writtenAt }) => writtenAt);
  return {
    id: CONTENT,
    kind: "internal",
    parents: [],
    createdAt: Math.min(...times),
    lastUsedAt: Math.max(...times),
    usageCount: 1,
    size: blobs.reduce((sum, { size }) => sum + size, 0),
    description: "manifests and configs of images",
    mutable: false,
    inUse: false,
  };
}
