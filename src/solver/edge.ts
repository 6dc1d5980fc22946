// One edge while it is solved. Its questions are memoised promises, asked in this order:
//   keys    what it is known by, from the definition alone: nothing is solved
//   lookup  whether a store has it; inputs are solved only where their content is the key that is left
//   result  the stored result, or the op run on the solved inputs
// A stored result is only a promise of bytes. Where it is broken, `forget` lets go of it, and the questions are asked
// again.
import { messageOf } from "../lib/index.js";
import { KeyNode, recordDigest, type KeyLink } from "./key-node.js";
import type { CacheMap, CacheStore, Lookup, MissReason, RecordId, StoredResult, Vertex } from "./types.js";
import type { Solver } from "./solver.js";

export interface Match<R> {
  readonly store: CacheStore<R>;
  readonly ids: readonly RecordId[];
}

export class EdgeState<R> {
  readonly vertex: Vertex<R>;
  readonly index: number;
  readonly inputs: readonly EdgeState<R>[];
  readonly #solver: Solver<R>;
  #maps: Promise<readonly CacheMap<R>[]> | undefined;
  #keys: Promise<readonly KeyNode[]> | undefined;
  #matches: Promise<readonly Match<R>[]> | undefined;
  #result: Promise<R> | undefined;
  readonly #contentKeys: (Promise<KeyNode> | undefined)[] = [];
  /** the settled content keys */
  readonly #knownContent: (KeyNode | undefined)[] = [];
  #missReason: MissReason = { kind: "unknown-step" };
  /** the result, once it is known */
  #value: R | undefined;
  /** the keys that the result was found by in a store; none if the op ran */
  #loadedKeys: readonly KeyNode[] | undefined;
  /** same edge under another vertex that ran first */
  #twin: EdgeState<R> | undefined;

  constructor(solver: Solver<R>, vertex: Vertex<R>, index: number, inputs: readonly EdgeState<R>[]) {
    this.#solver = solver;
    this.vertex = vertex;
    this.index = index;
    this.inputs = inputs;
  }

  /** the answers to all questions that were asked, as far as they are known */
  get answers(): readonly (Promise<unknown> | undefined)[] {
    return [this.#maps, this.#keys, this.#matches, this.#result, ...this.#contentKeys];
  }

  get twin(): EdgeState<R> {
    return this.#twin ? this.#twin.twin : this;
  }

  maps(): Promise<readonly CacheMap<R>[]> {
    this.#maps ??= this.#solver.withVertex(this.vertex, () => this.vertex.op.cacheMaps(this.#solver.signal));
    return this.#maps;
  }

  /** The edge's keys as they follow from the definition. */
  keys(): Promise<readonly KeyNode[]> {
    this.#keys ??= this.#makeKeys();
    return this.#keys;
  }

  async #makeKeys(): Promise<readonly KeyNode[]> {
    const [maps, ...inputKeys] = await Promise.all([
      this.maps(),
      ...this.inputs.map((input) => input.keys()),
    ]);
    return maps.map((map) => {
      const links = inputKeys.map((keys, i): KeyLink[] =>
        keys.map((parent) => ({ parent, selector: map.inputs[i]?.selector })),
      );
      return new KeyNode(recordDigest(map.digest, this.index), links, map.digest.startsWith("random:"));
    });
  }

  /** The stores the edge is found in, in order. */
  matches(): Promise<readonly Match<R>[]> {
    this.#matches ??= this.#findMatches();
    return this.#matches;
  }

  /** What the local store has is found without waiting for the others. */
  async #findMatches(): Promise<readonly Match<R>[]> {
    const [maps, keys] = await Promise.all([this.maps(), this.keys()]);
    if (this.vertex.ignoreCache) {
      await Promise.all(this.inputs.map((input) => input.matches()));
      this.#missReason = { kind: "no-cache" };
      return [];
    }
    const { local } = this.#solver;
    const byDefinition = this.#probe(keys, [local]);
    // sources are had from where they are
    if (byDefinition.length > 0 || this.vertex.isSource) return byDefinition;
    const matched = Promise.all(this.inputs.map((input) => input.matches()));
    // without waiting for them; but one that fails fails all
    const ahead = this.#solveUnknown(keys, maps[0]!);
    await new Promise<unknown>((resolve, reject) => {
      matched.then(resolve, reject);
      ahead.catch(reject);
    });
    await this.#linkRandomInputs(keys, maps[0]!);
    const here = this.#probe(keys, [local]);
    if (here.length > 0) return here;
    const stores = await this.#solver.stores();
    const first = this.#probe(keys, stores);
    if (first.length > 0) return first;
    const wanted = this.#wantedContent(keys, maps[0]!, stores);
    if (wanted.size === 0) return [];
    await Promise.all([...wanted].map((i) => this.#contentKey(i)));
    this.#linkContentKeys(keys);
    return this.#probe(keys, stores);
  }

  /**
   * Solves, side by side, inputs that are needed whatever is found: no store knows the step with what such an input is
   * defined as, so that its content, or its result, is all that helps.
   */
  async #solveUnknown(keys: readonly KeyNode[], map: CacheMap<R>): Promise<void> {
    const stores = await this.#solver.stores();
    await Promise.all(
      this.inputs.map(async (input, i) => {
        if (!map.inputs[i]?.contentDigest) return;
        await input.matches();
        const isKnown = stores.some((store) => keys.some((key) => key.candidates(store, i).size > 0));
        if (!isKnown) await this.#contentKey(i);
      }),
    );
  }

  /** What has no key that could be shared is found by its content or nowhere. */
  async #linkRandomInputs(keys: readonly KeyNode[], map: CacheMap<R>): Promise<void> {
    await Promise.all(
      this.inputs.map(async (input, i) => {
        if (!map.inputs[i]?.contentDigest) return;
        if ((await input.keys()).every(({ isRandom }) => isRandom)) await this.#contentKey(i);
      }),
    );
    this.#linkContentKeys(keys);
  }

  /** The stores that have a result under one of the keys. */
  #probe(keys: readonly KeyNode[], stores: readonly CacheStore<R>[]): readonly Match<R>[] {
    return stores.flatMap((store) => {
      const ids = new Set(keys.flatMap((key) => [...key.idsIn(store)]));
      const withResult = [...ids].filter((id) => store.results(id).length > 0);
      return withResult.length > 0 ? [{ store, ids: withResult }] : [];
    });
  }

  /**
   * The inputs whose content keys could still make a match: no store knows the step with what they are defined as, and
   * every such input can be known by its content. Where a store knows the step but has no result, nothing is solved for
   * the sake of a key: the step will need its inputs anyway.
   */
  #wantedContent(keys: readonly KeyNode[], map: CacheMap<R>, stores: readonly CacheStore<R>[]): Set<number> {
    const wanted = new Set<number>();
    let closest: number[] | undefined;
    for (const key of keys) {
      const unknown = (store: CacheStore<R>, i: number): boolean => key.candidates(store, i).size === 0;
      const indexes = key.inputs.map((_, i) => i);
      const absent = indexes.filter((i) => stores.every((store) => unknown(store, i)));
      if (absent.every((i) => map.inputs[i]?.contentDigest)) for (const i of absent) wanted.add(i);
      for (const store of stores) {
        const missing = indexes.filter((i) => unknown(store, i));
        if (missing.length > 0 && (!closest || missing.length < closest.length)) closest = missing;
      }
    }
    if (closest) this.#missReason = { kind: "input-changed", input: closest[0]! };
    return wanted;
  }

  /** The key made of what the step reads of input `i`; solves the input. */
  #contentKey(i: number): Promise<KeyNode> {
    this.#contentKeys[i] ??= (async () => {
      const map = (await this.maps())[0]!;
      const input = this.inputs[i]!;
      await input.result();
      const digest = await this.#solver.withVertex(this.vertex, () =>
        this.#solver.withResults([input], ([result]) =>
          map.inputs[i]!.contentDigest!(result as R, this.#solver.signal),
        ),
      );
      const node = this.#solver.rootKey(recordDigest(digest, -1));
      this.#knownContent[i] = node;
      return node;
    })();
    return this.#contentKeys[i];
  }

  result(): Promise<R> {
    this.#result ??= this.#makeResult().then((value) => (this.#value = value));
    return this.#result;
  }

  async #makeResult(): Promise<R> {
    const solver = this.#solver;
    const loaded = await this.#load(await this.matches());
    if (loaded) return loaded.value;
    if (this.inputs.length > 0) {
      const maps = await this.maps();
      await Promise.all(this.inputs.map((input) => input.result()));
      const byContent = this.inputs.flatMap((_, i) => (maps[0]!.inputs[i]?.contentDigest ? [i] : []));
      await Promise.all(byContent.map((i) => this.#contentKey(i)));
      this.#linkContentKeys(await this.keys());
      if (!this.vertex.ignoreCache && this.#knownContent.some((node) => node)) {
        const second = await this.#load(this.#probe(await this.keys(), await solver.stores()));
        if (second) return second.value;
      }
    }
    const keys = await this.keys();
    const twin = solver.claim(this, keys);
    if (twin !== this) {
      this.#twin = twin;
      const value = await twin.result();
      solver.completed(this.vertex, { kind: "hit", source: "this build" });
      for (const key of keys) key.result = { value, createdAt: Date.now() };
      return value;
    }
    const turn = this.vertex.ignoreCache ? undefined : await solver.turn(keys[0]!);
    try {
      const made = turn?.waited === true && (await this.#load(this.#probe(keys, [solver.local])));
      return made ? made.value : await this.#run(keys);
    } finally {
      turn?.release();
    }
  }

  async #run(keys: readonly KeyNode[]): Promise<R> {
    const solver = this.#solver;
    const outputs = await solver.run(this.vertex, this.inputs, { kind: "miss", reason: this.#missReason });
    const value = outputs[this.index];
    if (value === undefined) {
      const [index, count] = [this.index, outputs.length];
      throw new Error(`invalid response from exec need ${index} index but ${count} results received`);
    }
    const createdAt = Date.now();
    for (const key of keys) {
      key.result = { value, createdAt };
      this.#save(key, value, createdAt);
    }
    return value;
  }

  #save(key: KeyNode, value: R, createdAt: number): void {
    if (!this.vertex.isSource || this.vertex.isKept) this.#solver.save(key, value, createdAt);
  }

  /** The first result of the matches that can be had. */
  async #load(matches: readonly Match<R>[]): Promise<{ value: R } | undefined> {
    for (const { store, ids } of matches) {
      for (const id of ids) {
        for (const stored of store.results(id)) {
          const loaded = await this.#loadOne(store, stored);
          if (!loaded) continue;
          await this.#found(loaded.value, stored.createdAt, { store, ids });
          return loaded;
        }
      }
    }
    return undefined;
  }

  async #loadOne(store: CacheStore<R>, stored: StoredResult<R>): Promise<{ value: R } | undefined> {
    const solver = this.#solver;
    try {
      const value = await stored.load(solver.signal);
      if (value !== undefined) return { value };
      this.#missReason = { kind: "result-gone", source: store.name, message: "its layers are gone" };
    } catch (error) {
      if (solver.signal.aborted) throw error;
      this.#missReason = { kind: "result-gone", source: store.name, message: messageOf(error) };
      solver.warn(
        `cached result of ${this.vertex.name} from ${store.name} cannot be used: ${messageOf(error)}`,
      );
    }
    return undefined;
  }

  async #found(value: R, createdAt: number, { store, ids }: Match<R>): Promise<void> {
    const keys = await this.keys();
    this.#linkContentKeys(keys);
    for (const key of keys) {
      key.result = { value, createdAt };
      this.#solver.adopt(key, store, ids);
      this.#save(key, value, createdAt);
    }
    this.#loadedKeys = keys;
    if (store !== this.#solver.local) await this.#solver.keepParents(keys, store);
    this.#solver.completed(this.vertex, { kind: "hit", source: store.name });
  }

  /**
   * Lets go of a result whose bytes cannot be had.
   * @returns whether asking for the result again may give another one: it came from a store
   */
  forget(value: R, reason: string): boolean {
    if (this.#twin) return this.#twin.forget(value, reason);
    if (this.#value !== value) return true;
    if (!this.#loadedKeys) return false;
    for (const key of this.#loadedKeys) key.result = undefined;
    this.#loadedKeys = undefined;
    this.#matches = undefined;
    this.#result = undefined;
    this.#value = undefined;
    this.#missReason = { kind: "result-gone", source: "cache", message: reason };
    this.#solver.reopen(this.vertex);
    this.#solver.warn(`cached result of ${this.vertex.name} cannot be used: ${reason}`);
    return true;
  }

  #linkContentKeys(keys: readonly KeyNode[]): void {
    this.#knownContent.forEach((node, i) => {
      if (node) for (const key of keys) key.addLink(i, { parent: node, selector: undefined });
    });
  }

  /** For progress: a step that nothing needed, because what stands on it was found. Waits for no store. */
  async knownLookup(): Promise<Lookup | undefined> {
    const keys = await this.keys();
    const stores = this.#solver.knownStores();
    const [match] = this.#probe(keys, stores);
    // a store may know the step and have no result of it
    const store = match?.store ?? stores.find((one) => keys.some((key) => key.idsIn(one).size > 0));
    return store && { kind: "hit", source: store.name };
  }
}
