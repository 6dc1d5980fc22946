// The records of a state folder, in its database. A record's id is its digest where it has no inputs, else a number;
// links are kept in both directions.
import type { Database, Table } from "../content/index.js";
import type { Digest } from "../lib/index.js";
import type { Ref, RefStore } from "../snapshot/index.js";
import type {
  RecordId,
  RecordLink,
  StoredRecord,
  StoredResult,
  WritableCacheStore,
} from "../solver/index.js";

interface SavedRecord {
  readonly digest: Digest;
  readonly inputs: readonly (readonly { readonly parent: RecordId; readonly selector?: Digest }[])[];
  readonly results: readonly { readonly layer: number | null; readonly createdAt: number }[];
  /** when a build last made or met it; see `Activity` */
  readonly stamp?: number;
}

/** A step's result: a chain of layers, or nothing at all (scratch). */
export interface RefResult {
  readonly ref: Ref | undefined;
}

export class LocalCacheStore implements WritableCacheStore<RefResult> {
  readonly name = "local";
  readonly #database: Database;
  readonly #refs: RefStore;
  readonly #records: Table<SavedRecord>;
  /** link -> records that have it */
  readonly #children: Table<readonly RecordId[]>;
  readonly #counters: Table<number>;

  constructor(database: Database, refs: RefStore) {
    this.#database = database;
    this.#refs = refs;
    this.#records = database.table("records");
    this.#children = database.table("links");
    this.#counters = database.table("counters");
  }

  roots(digest: Digest): readonly RecordId[] {
    return [digest];
  }

  children(
    parent: RecordId,
    input: number,
    digest: Digest,
    selector: Digest | undefined,
  ): readonly RecordId[] {
    return this.#children.get(childKey(parent, input, digest, selector)) ?? [];
  }

  record(id: RecordId): StoredRecord | undefined {
    if (id.startsWith("sha256:")) return { digest: id as Digest, inputs: [] };
    const saved = this.#records.get(id);
    if (!saved) return undefined;
    const inputs = saved.inputs.map((links) =>
      links.map(({ parent, selector }): RecordLink => ({ parent, selector })),
    );
    return { digest: saved.digest, inputs };
  }

  results(id: RecordId): readonly StoredResult<RefResult>[] {
    const saved = this.#records.get(id);
    return (saved?.results ?? []).flatMap(({ layer, createdAt }) => {
      const ref = layer === null ? undefined : this.#refs.get(layer);
      if (layer !== null && (!ref || !this.#refs.isAvailable(ref))) return [];
      return [
        { createdAt, load: async () => (!ref || (await this.#refs.table.use(ref)) ? { ref } : undefined) },
      ];
    });
  }

  save(record: StoredRecord, result: RefResult | undefined, createdAt = Date.now()): RecordId {
    // a record without inputs is its digest, and there if nobody saved it
    const isRoot = record.inputs.length === 0;
    if (isRoot && !result) return record.digest;
    return this.#database.transaction(() => {
      const existing = isRoot ? record.digest : this.#find(record);
      const next = existing === undefined ? (this.#counters.get("record") ?? 0) + 1 : undefined;
      const id = existing ?? String(next);
      if (next !== undefined) void this.#counters.put("record", next);
      const saved = this.#records.get(id);
      // a step that makes what its own input is already would stand on itself
      const others = record.inputs.map((links) =>
        links.filter(({ parent }) => parent !== id && this.#isKnown(parent)),
      );
      // what it stands on was pruned since it was met: nobody could find it
      if (!saved && others.some((links) => links.length === 0)) return id;
      const inputs = others.map((links, i) => merge(saved?.inputs[i] ?? [], links));
      const layer = result?.ref?.id ?? null;
      const results = saved?.results ?? [];
      const known = results.some((other) => other.layer === layer);
      const all =
        result && !known ? [{ layer, createdAt }, ...results.filter((r) => this.#isThere(r.layer))] : results;
      const stamp = this.#refs.activity.now();
      void this.#records.put(id, { digest: record.digest, inputs, results: all, stamp });
      others.forEach((links, i) => {
        for (const { parent, selector } of links) {
          const key = childKey(parent, i, record.digest, selector);
          const known = this.#children.get(key) ?? [];
          if (!known.includes(id)) void this.#children.put(key, [...known, id]);
        }
      });
      return id;
    });
  }

  /**
   * In a transaction: forgets results that were removed, and then records that lead to none.
   * @param before records that builds made or met at this time of `Activity` or later are left alone
   * @returns how many records it removed
   */
  forget(layers: ReadonlySet<number>, before: number): number {
    const open: RecordId[] = [];
    for (const { key, value } of [...this.#records.getRange()]) {
      const results = value.results.filter(({ layer }) => layer === null || !layers.has(layer));
      if (results.length < value.results.length) void this.#records.put(key, { ...value, results });
      if (results.length === 0) open.push(key);
    }
    let removed = 0;
    for (let id = open.pop(); id !== undefined; id = open.pop()) {
      const record = this.#records.get(id);
      if (!record || record.results.length > 0 || (record.stamp ?? 0) >= before || this.#hasChildren(id))
        continue;
      void this.#records.remove(id);
      removed++;
      record.inputs.forEach((links, i) => {
        for (const { parent, selector } of links) {
          const key = childKey(parent, i, record.digest, selector);
          const left = (this.#children.get(key) ?? []).filter((child) => child !== id);
          if (left.length > 0) void this.#children.put(key, left);
          else void this.#children.remove(key);
          open.push(parent);
        }
      });
    }
    return removed;
  }

  #hasChildren(id: RecordId): boolean {
    const start = `${shortId(id)}|`;
    return [...this.#children.getKeys({ start, end: `${start}~`, limit: 1 })].length > 0;
  }

  /** How many records there are. */
  count(): number {
    return this.#records.getCount();
  }

  /** What is wrong with the records; see `bluekiln doctor`. */
  problems(): string[] {
    const problems: string[] = [];
    for (const { key, value } of this.#records.getRange()) {
      for (const { layer } of value.results)
        if (layer !== null && !this.#refs.get(layer))
          problems.push(`record ${key} names layer ${layer}, which is not there`);
      value.inputs.forEach((links, i) => {
        for (const { parent, selector } of links) {
          if (!parent.startsWith("sha256:") && !this.#records.get(parent))
            problems.push(`record ${key} stands on record ${parent}, which is not there`);
          if (!this.children(parent, i, value.digest, selector).includes(key))
            problems.push(`record ${key} cannot be found from record ${parent}`);
        }
      });
    }
    for (const { key, value } of this.#children.getRange())
      for (const child of value)
        if (!this.#records.get(child))
          problems.push(`link ${key} leads to record ${child}, which is not there`);
    return problems;
  }

  #isKnown(id: RecordId): boolean {
    // a digest is a record without inputs, which is always there
    return !/^\d+$/.test(id) || this.#records.get(id) !== undefined;
  }

  #isThere(layer: number | null): boolean {
    const ref = layer === null ? undefined : this.#refs.get(layer);
    return layer === null || (ref !== undefined && this.#refs.isAvailable(ref));
  }

  /** A record that shares an alternative of every input. */
  #find({ digest, inputs }: StoredRecord): RecordId | undefined {
    const [first, ...rest] = inputs.map(
      (links, i) =>
        new Set(links.flatMap(({ parent, selector }) => this.children(parent, i, digest, selector))),
    );
    return [...first!].filter((id) => rest.every((ids) => ids.has(id))).sort()[0];
  }
}

function merge(
  known: SavedRecord["inputs"][number],
  links: readonly RecordLink[],
): SavedRecord["inputs"][number] {
  const added = links.filter(
    (link) => !known.some((other) => other.parent === link.parent && other.selector === link.selector),
  );
  return [
    ...known,
    ...added.map(({ parent, selector }) => ({ parent, ...(selector !== undefined && { selector }) })),
  ];
}

/** lmdb keys are short: the digest's first half is plenty next to the parent's id. */
function childKey(parent: RecordId, input: number, digest: Digest, selector: Digest | undefined): string {
  return `${shortId(parent)}|${input}|${shortId(digest)}|${selector === undefined ? "" : shortId(selector)}`;
}

function shortId(id: string): string {
  return id.replace("sha256:", "").slice(0, 40);
}
