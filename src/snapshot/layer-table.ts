// What the database knows of layers. Every step that makes, finds or removes one is a transaction, so that processes
// agree on what is there; see `Activity` for what may be removed.
import { digestOf, type Digest } from "../lib/index.js";
import type { Database, Table } from "../content/index.js";
import type { Activity } from "./activity.js";
import { Ref } from "./ref.js";
import type { LayerDescriptor, LayerRecord, LayerUse } from "./types.js";

export interface NewLayer {
  readonly parent: Ref | undefined;
  readonly origin?: Ref;
  readonly record: Omit<LayerRecord, "parent" | "origin">;
}

export class LayerTable {
  readonly #database: Database;
  readonly #activity: Activity;
  readonly #layers: Table<LayerRecord>;
  /** chain id -> layer id */
  readonly #chains: Table<number>;
  readonly #counters: Table<number>;
  readonly #uses: Table<LayerUse>;
  /** content digests of results by what was read of them */
  readonly #contents: Table<Readonly<Record<string, Digest>>>;
  readonly #refs = new Map<number, Ref>();

  constructor(database: Database, activity: Activity) {
    this.#database = database;
    this.#activity = activity;
    this.#layers = database.table("layers");
    this.#chains = database.table("chains");
    this.#counters = database.table("counters");
    this.#uses = database.table("uses");
    this.#contents = database.table("contents");
  }

  get(id: number): Ref | undefined {
    const known = this.#refs.get(id);
    if (known) return known;
    const record = this.#layers.get(String(id));
    if (!record) return undefined;
    const parent = record.parent === undefined ? undefined : this.get(record.parent);
    const origin = record.origin === undefined ? undefined : this.get(record.origin);
    if ((record.parent !== undefined && !parent) || (record.origin !== undefined && !origin))
      return undefined;
    const ref = new Ref(id, record, parent, origin);
    this.#refs.set(id, ref);
    return ref;
  }

  create(layer: NewLayer): Ref {
    return this.#database.transaction(() => this.#create(layer));
  }

  #create({ parent, origin, record }: NewLayer): Ref {
    const id = (this.#counters.get("layer") ?? 0) + 1;
    void this.#counters.put("layer", id);
    const ref = new Ref(id, { ...record, parent: parent?.id }, parent, origin);
    void this.#layers.put(String(id), ref.record);
    this.#stamp(ref);
    this.#refs.set(id, ref);
    return ref;
  }

  /** The layer with this content on top of `parent`, made if there is none. */
  chained(chainId: Digest, layer: NewLayer): Ref {
    return this.#database.transaction(() => {
      const known = this.#chains.get(chainId);
      const existing = known !== undefined && this.#isThere(known) ? this.get(known) : undefined;
      if (existing) {
        this.#stamp(existing);
        return existing;
      }
      const made = this.#create(layer);
      void this.#chains.put(chainId, made.id);
      return made;
    });
  }

  /** Says that a build works with a result. @returns false if somebody has removed it */
  async use(ref: Ref): Promise<boolean> {
    if (ref.stamp === this.#activity.now()) return true;
    return this.#database.queued(() => {
      const isThere = ref.chain.every(({ id }) => this.#isThere(id));
      if (isThere) this.#stamp(ref);
      else this.#refs.delete(ref.id);
      return isThere;
    });
  }

  /** Runs `adopt` and saves what it changed of the layer, both or neither. */
  update(ref: Ref, adopt: () => void): void {
    this.#database.transaction(() => {
      adopt();
      if (this.#isThere(ref.id)) void this.#layers.put(String(ref.id), ref.record);
    });
  }

  /** What `keepContent` was told: results do not change. @param what was read, and how */
  content({ id }: Ref, what: string): Digest | undefined {
    return this.#contents.get(String(id))?.[digestOf(what)];
  }

  keepContent({ id }: Ref, what: string, digest: Digest): void {
    void this.#database.queued(() => {
      if (!this.#isThere(id)) return;
      void this.#contents.put(String(id), { ...this.#contents.get(String(id)), [digestOf(what)]: digest });
    });
  }

  #isThere(id: number): boolean {
    return this.#layers.get(String(id)) !== undefined;
  }

  #stamp(ref: Ref): void {
    const stamp = this.#activity.now();
    if (ref.stamp === stamp) return;
    ref.stamp = stamp;
    const count = (this.#uses.get(String(ref.id))?.count ?? 0) + 1;
    void this.#uses.put(String(ref.id), { stamp, count, usedAt: Date.now() });
  }

  /** In a transaction: all layers, in order of their ids. */
  *all(): Generator<{ readonly id: number; readonly record: LayerRecord; readonly use: LayerUse }> {
    for (const { key, value } of this.#layers.getRange()) {
      const use = this.#uses.get(key) ?? { stamp: 0, count: 0, usedAt: value.createdAt };
      yield { id: Number(key), record: value, use };
    }
  }

  /** In a transaction: forgets layers; the caller has seen to it that nothing needs them. */
  remove(ids: ReadonlySet<number>): void {
    for (const id of ids) {
      void this.#layers.remove(String(id));
      void this.#uses.remove(String(id));
      void this.#contents.remove(String(id));
      this.#refs.delete(id);
    }
    for (const { chainId, id } of this.chains()) if (ids.has(id)) void this.#chains.remove(chainId);
  }

  /** Whether a layer that this process knows stands on it. */
  isNeeded(ref: Ref): boolean {
    for (const other of this.#refs.values()) if (other.parent === ref || other.origin === ref) return true;
    return false;
  }

  /** In a transaction: digests of all blobs that layers have. */
  blobs(): ReadonlySet<Digest> {
    const digests = new Set<Digest>();
    for (const { record } of this.all()) {
      if (record.blob) digests.add(record.blob.digest);
      for (const { digest } of record.variants ?? []) digests.add(digest);
    }
    return digests;
  }

  /** In a transaction: layers by the content of their chains. */
  chains(): readonly { readonly chainId: Digest; readonly id: number }[] {
    return [...this.#chains.getRange()].map(({ key, value }) => ({ chainId: key as Digest, id: value }));
  }
}

export function chainIdOf(parent: Digest | undefined, { diffId }: LayerDescriptor): Digest {
  return parent === undefined ? diffId : digestOf(`${parent} ${diffId}`);
}
