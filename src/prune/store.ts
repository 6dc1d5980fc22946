// Removing what nobody needs. What may go is decided in one transaction, against what all processes use; files are
// removed after it, so a process that is killed in between leaves nothing but rubbish, which the next removal takes.
import { rmSync, statfsSync, statSync } from "node:fs";
import { rename, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import type { LocalCacheStore } from "../cache/index.js";
import { codeOf, type Digest } from "../lib/index.js";
import { keptDigestsPath, layerFiles, layerPath, listingPath, type Ref } from "../snapshot/index.js";
import { chooseLayers } from "./choose.js";
import { usageFilter } from "./filter.js";
import { defaultLimits, gcPolicies, keptBytes, type GcLimits } from "./policy.js";
import type { PruneOptions, UsageRecord } from "./types.js";
import { cacheBases, CONTENT, DiskUsage, layerBlobs, type UsageParts } from "./usage.js";

/** Milliseconds: younger blobs and folders may belong to something that the database does not know yet. */
const YOUNG_BLOB = 3_600_000;
const YOUNG_FOLDER = 60_000;

export interface PruneParts extends UsageParts {
  readonly records: LocalCacheStore;
}

export class PruneStore {
  readonly #parts: PruneParts;
  readonly #usage: DiskUsage;
  #trash = 0;
  /** what was released before */
  #removed: Promise<void> = Promise.resolve();

  constructor(parts: PruneParts) {
    this.#parts = parts;
    this.#usage = new DiskUsage(parts);
  }

  /** Largest first. @throws BuildError FILTER_INVALID */
  async diskUsage(filters: readonly string[], signal: AbortSignal): Promise<readonly UsageRecord[]> {
    const matches = usageFilter(filters);
    const records = await this.#usage.records(signal);
    return records.filter(matches).sort((a, b) => b.size - a.size);
  }

  /**
   * Removes records, those first that were not used for the longest time, until the limits are kept.
   * @param removed is told of each
   * @throws BuildError FILTER_INVALID
   */
  async prune(
    options: PruneOptions,
    removed: (record: UsageRecord) => void,
    signal: AbortSignal,
  ): Promise<void> {
    await this.#prune(await this.#usage.records(signal), options, removed);
    await this.#removeOrphans();
  }

  async #prune(
    records: readonly UsageRecord[],
    options: PruneOptions,
    removed: (record: UsageRecord) => void,
  ): Promise<void> {
    const matches = usageFilter(options.filters);
    const used = records.reduce((sum, { size }) => sum + size, 0);
    const { bavail, bsize } = statfsSync(this.#parts.state.root);
    const kept = keptBytes(options, used, bavail * bsize);
    // where nothing is kept, what takes no space goes as well
    let excess = kept === 0 ? Infinity : used - kept;
    const limit = Date.now() - options.keepDuration;
    const takes = (record: UsageRecord): boolean => {
      if (excess <= 0 || !matches(record) || (record.kind === "internal" && !options.all)) return false;
      if ((record.lastUsedAt ?? record.createdAt) > limit) return false;
      excess -= record.size;
      return true;
    };
    for (const record of await this.#pruneMounts(records, takes)) removed(record);
    for (const record of await this.#pruneLayers(records, takes)) removed(record);
    const content = records.find(({ id }) => id === CONTENT);
    if (content && takes(content)) {
      const size = this.#sweepContent();
      if (size > 0) removed({ ...content, size });
    }
  }

  /** Removes what exceeds the limits, by BuildKit's rules. */
  async collectGarbage(limits: Partial<GcLimits>, signal: AbortSignal): Promise<readonly UsageRecord[]> {
    const { blocks, bsize } = statfsSync(this.#parts.state.root);
    const all = { ...defaultLimits(blocks * bsize), ...limits };
    const removed: UsageRecord[] = [];
    let records: readonly UsageRecord[] = await this.#usage.records(signal);
    for (const policy of gcPolicies(all)) {
      const gone = new Set<UsageRecord>();
      await this.#prune(records, policy, (record) => gone.add(record));
      records = records.filter((record) => !gone.has(record));
      removed.push(...gone);
    }
    await this.#removeOrphans();
    return removed;
  }

  /**
   * Removes results that no later build can find, unless something stands on them. They are gone at once; what their files
   * take up is given back while others go on.
   */
  async release(refs: readonly Ref[]): Promise<void> {
    const { database, refs: store } = this.#parts;
    const gone = database.transaction(() => {
      const ids = new Set(refs.filter((ref) => !store.table.isNeeded(ref)).map(({ id }) => id));
      store.table.remove(ids);
      this.#usage.forget(ids);
      return ids;
    });
    for (const id of gone)
      for (const path of this.#filesOf(id)) {
        const trash = await this.#putAway(path);
        // what stays is removed with this process's folder
        if (trash !== undefined)
          this.#removed = this.#removed.then(() => removeAll(trash)).catch(() => undefined);
      }
  }

  /** When all that was released is removed. */
  settled(): Promise<void> {
    return this.#removed;
  }

  async #pruneMounts(
    records: readonly UsageRecord[],
    takes: (record: UsageRecord) => boolean,
  ): Promise<UsageRecord[]> {
    const removed: UsageRecord[] = [];
    const mounts = records.filter(({ kind, inUse }) => kind === "exec.cachemount" && !inUse);
    for (const record of mounts.sort((a, b) => (a.lastUsedAt ?? 0) - (b.lastUsedAt ?? 0)))
      if (takes(record) && (await this.#parts.mounts.remove(record.id))) removed.push(record);
    return removed;
  }

  async #pruneLayers(
    records: readonly UsageRecord[],
    takes: (record: UsageRecord) => boolean,
  ): Promise<UsageRecord[]> {
    const { database, refs } = this.#parts;
    const known = new Map(records.map((record) => [record.id, record]));
    const bases = cacheBases(this.#parts.mounts);
    const { chosen, blobs } = database.transaction(() => {
      const layers = [...refs.table.all()];
      const oldest = refs.activity.oldest();
      const ids = chooseLayers(layers, { oldest, bases }, ({ id }) => {
        const record = known.get(String(id));
        return record !== undefined && takes(record);
      });
      const digests = layers.flatMap(({ id, record }) => (ids.has(id) ? layerBlobs(record) : []));
      if (ids.size > 0) {
        refs.table.remove(ids);
        this.#usage.forget(ids);
        this.#parts.records.forget(ids, oldest);
      }
      return { chosen: ids, blobs: digests };
    });
    for (const id of chosen) for (const path of this.#filesOf(id)) await this.#discard(path);
    this.#removeBlobs(new Set(blobs));
    return [...chosen].map((id) => known.get(String(id))!);
  }

  /** In a transaction of its own: another layer may have come by the same blob meanwhile. */
  #removeBlobs(digests: ReadonlySet<Digest>): void {
    const { database, refs, blobs } = this.#parts;
    if (digests.size === 0) return;
    database.transaction(() => {
      const needed = refs.table.blobs();
      for (const digest of digests) if (!needed.has(digest)) rmSync(blobs.path(digest), { force: true });
    });
  }

  /** Blobs that no layer has. @returns their bytes */
  #sweepContent(): number {
    const { database, refs, blobs } = this.#parts;
    return database.transaction(() => {
      const needed = refs.table.blobs();
      // where nobody builds, nothing is about to be needed
      const old = refs.activity.oldest() === Infinity ? Infinity : Date.now() - YOUNG_BLOB;
      const gone = blobs.list().filter(({ digest, writtenAt }) => !needed.has(digest) && writtenAt < old);
      for (const { digest } of gone) rmSync(blobs.path(digest), { force: true });
      return gone.reduce((sum, { size }) => sum + size, 0);
    });
  }

  /** Folders of layers that a process was killed over while it removed them. */
  async #removeOrphans(): Promise<void> {
    const { state, refs, database } = this.#parts;
    const known = database.transaction(() => new Set([...refs.table.all()].map(({ id }) => String(id))));
    for (const path of layerFiles(state.root)) {
      const changedAt = statSync(path, { throwIfNoEntry: false })?.ctimeMs ?? 0;
      if (!known.has(basename(path)) && changedAt < Date.now() - YOUNG_FOLDER) await this.#discard(path);
    }
  }

  #filesOf(id: number): string[] {
    return [layerPath(id), keptDigestsPath(id), listingPath(id)].map((path) =>
      join(this.#parts.state.root, path),
    );
  }

  async #discard(path: string): Promise<void> {
    const trash = await this.#putAway(path);
    if (trash !== undefined) await removeAll(trash);
  }

  /** Out of the way. @returns where it is now; `undefined` if it was nowhere */
  async #putAway(path: string): Promise<string | undefined> {
    const trash = join(this.#parts.state.own, `t${++this.#trash}`);
    try {
      await rename(path, trash);
    } catch (error) {
      if (codeOf(error) === "ENOENT") return undefined;
      throw error;
    }
    return trash;
  }
}

function removeAll(path: string): Promise<void> {
  return rm(path, { recursive: true, force: true });
}
