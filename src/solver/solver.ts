// Solves edges of a graph: each vertex once, from the cache where a store has it. What is the same under different
// names is found while it runs and solved once.
import { digestOf, messageOf, type Digest } from "../lib/index.js";
import { EdgeState } from "./edge.js";
import { forgetMisses, KeyNode } from "./key-node.js";
import type {
  CacheStore,
  Edge,
  Lookup,
  RecordId,
  SolverEvents,
  StoredRecord,
  Vertex,
  WritableCacheStore,
} from "./types.js";

export interface SolverOptions<R> {
  readonly vertices: ReadonlyMap<Digest, Vertex<R>>;
  readonly local: WritableCacheStore<R>;
  /** asked after the local store, in order; a store that cannot be read is not in the list */
  readonly imports: Promise<readonly CacheStore<R>[]>;
  readonly events: SolverEvents;
  readonly signal: AbortSignal;
  readonly warn: (message: string) => void;
  /** whether the bytes of a result are here or can be had; a result from a store can turn out to be lost */
  readonly isAvailable: (value: R) => boolean;
  /** Runs what a step does; told so that it can be shown there. */
  readonly during?: <T>(vertex: Digest, task: () => Promise<T>) => Promise<T>;
  /** Sees to it that a step (a digest names it) runs once at a time, whoever builds. */
  readonly alone?: (name: Digest) => Promise<Turn>;
}

export interface Turn {
  /** somebody else has run the step meanwhile */
  readonly waited: boolean;
  release(): void;
}

export class Solver<R> {
  readonly signal: AbortSignal;
  readonly #options: SolverOptions<R>;
  readonly #edges = new Map<string, EdgeState<R>>();
  readonly #rootKeys = new Map<Digest, KeyNode>();
  /** keys of edges that run or ran in this build */
  readonly #claims = new Map<Digest, { key: KeyNode; edge: EdgeState<R> }[]>();
  readonly #runs = new Map<Digest, Promise<readonly R[]>>();
  readonly #started = new Set<Digest>();
  readonly #completed = new Set<Digest>();
  readonly #adopted = new Map<CacheStore<R>, Map<RecordId, KeyNode>>();
  /** keys whose results in imported stores the local one has taken over */
  readonly #kept = new Set<KeyNode>();
  #stores: Promise<readonly CacheStore<R>[]> | undefined;
  #imported: readonly CacheStore<R>[] = [];

  constructor(options: SolverOptions<R>) {
    this.#options = options;
    this.signal = options.signal;
  }

  /**
   * Solves edges and hands `use` their results; again with new ones, should the bytes of a cached result turn out to
   * be lost while it is used.
   * @throws what the op that failed threw
   */
  async solve<T>(edges: readonly Edge[], use: (values: readonly R[]) => Promise<T>): Promise<T> {
    const states = edges.map((edge) => this.#edge(edge));
    return this.withResults(states, async (values) => {
      await this.#reportUnused();
      return use(values);
    });
  }

  async withResults<T>(
    edges: readonly EdgeState<R>[],
    use: (values: readonly R[]) => Promise<T>,
  ): Promise<T> {
    for (;;) {
      const values = await Promise.all(edges.map((edge) => edge.result()));
      try {
        return await use(values);
      } catch (error) {
        const lost = edges.flatMap((edge, i) =>
          this.#options.isAvailable(values[i]!) ? [] : [{ edge, value: values[i]! }],
        );
        const reason = messageOf(error);
        const canRetry = lost.length > 0 && lost.every(({ edge, value }) => edge.forget(value, reason));
        if (!canRetry || this.signal.aborted) throw error;
      }
    }
  }

  /** Waits until nothing runs any more: after an error, steps that do not depend on the one that failed may. */
  async settled(): Promise<void> {
    const answers = (): Promise<unknown>[] =>
      [...this.#edges.values()].flatMap((edge) => edge.answers.filter((one) => one !== undefined));
    for (let before = -1, all = answers(); all.length !== before; all = answers()) {
      before = all.length;
      await Promise.allSettled(all);
    }
  }

  /** The keys of a solved edge, for cache export. */
  async keysOf(edge: Edge): Promise<readonly KeyNode[]> {
    const state = this.#edge(edge);
    await state.result();
    return state.keys();
  }

  /** What edges are known to give, made in this build or found in a store; nothing is solved for it. */
  async knownResults(edges: readonly Edge[]): Promise<readonly (R | undefined)[]> {
    const keys = await Promise.all(edges.map((edge) => this.#edge(edge).keys()));
    await this.loadResults(keys.flat());
    return keys.map((nodes) => nodes.find(({ result }) => result)?.result?.value as R | undefined);
  }

  /** Gives every key below `targets` that a store has a result for that result: a cached step was never loaded. */
  async loadResults(targets: readonly KeyNode[]): Promise<void> {
    const stores = await this.stores();
    const seen = new Set<KeyNode>(targets);
    for (const node of seen) for (const parent of node.parents) seen.add(parent);
    await Promise.all(
      [...seen].map(async (node) => {
        if (!node.result && !node.isRandom) node.result = await this.#storedResult(node, stores);
      }),
    );
  }

  /**
   * What a hit in an imported store stands on, that store has as well: the local one takes it over, for builds that don't
   * import. BuildKit does the same.
   */
  async keepParents(keys: readonly KeyNode[], store: CacheStore<R>): Promise<void> {
    const open = keys.flatMap(({ parents }) => parents);
    for (let node = open.pop(); node; node = open.pop()) {
      if (this.#kept.has(node)) continue;
      this.#kept.add(node);
      open.push(...node.parents);
      const result = node.inputs.length > 0 ? await this.#storedResult(node, [store]) : undefined;
      if (result) this.save(node, result.value, result.createdAt);
    }
  }

  /** The first result of a key that a store can give. */
  async #storedResult(
    node: KeyNode,
    stores: readonly CacheStore<R>[],
  ): Promise<{ readonly value: R; readonly createdAt: number } | undefined> {
    for (const store of stores) {
      for (const id of node.idsIn(store)) {
        for (const stored of store.results(id)) {
          const value = await stored.load(this.signal).catch(() => undefined);
          if (value !== undefined) return { value, createdAt: stored.createdAt };
        }
      }
    }
    return undefined;
  }

  #edge({ vertex: digest, index }: Edge): EdgeState<R> {
    // Not recursive: a graph may be thousands of steps deep.
    const stack: Edge[] = [{ vertex: digest, index }];
    while (stack.length > 0) {
      const top = stack[stack.length - 1]!;
      const name = `${top.vertex}@${top.index}`;
      const vertex = this.#options.vertices.get(top.vertex)!;
      const missing = vertex.inputs.find((input) => !this.#edges.has(`${input.vertex}@${input.index}`));
      if (this.#edges.has(name)) stack.pop();
      else if (missing) stack.push(missing);
      else {
        const inputs = vertex.inputs.map((input) => this.#edges.get(`${input.vertex}@${input.index}`)!);
        const state = new EdgeState(this, vertex, top.index, inputs);
        this.#edges.set(name, state);
        // from the bottom up, so that no call is as deep as the graph; who asks later gets the error
        state.keys().catch(() => undefined);
        stack.pop();
      }
    }
    return this.#edges.get(`${digest}@${index}`)!;
  }

  get local(): CacheStore<R> {
    return this.#options.local;
  }

  /** The local store first, then the imported ones, once they are read. */
  stores(): Promise<readonly CacheStore<R>[]> {
    this.#stores ??= this.#options.imports.then((imports) => {
      this.#imported = imports;
      return [this.#options.local, ...imports];
    });
    return this.#stores;
  }

  /** The stores that have been read by now. */
  knownStores(): readonly CacheStore<R>[] {
    return [this.#options.local, ...this.#imported];
  }

  /** Runs `task` on behalf of a vertex: it is shown as started, and as failed if the task fails. */
  async withVertex<T>(vertex: Vertex<R>, task: () => Promise<T>): Promise<T> {
    if (vertex.isSource) this.#start(vertex);
    try {
      return await task();
    } catch (error) {
      this.#start(vertex);
      this.#complete(vertex, undefined, error as Error);
      throw error;
    }
  }

  /** The key of something that has no inputs, one object for each. */
  rootKey(digest: Digest): KeyNode {
    let node = this.#rootKeys.get(digest);
    if (!node) this.#rootKeys.set(digest, (node = new KeyNode(digest, [], false)));
    return node;
  }

  /** The edge that is to run for these keys: `edge` itself, or one with a key in common that came first. */
  claim(edge: EdgeState<R>, keys: readonly KeyNode[]): EdgeState<R> {
    for (const key of keys) {
      if (key.isRandom) continue;
      for (const other of this.#claims.get(key.digest) ?? []) {
        if (other.edge !== edge && sameKey(key, other.key)) {
          key.inputs.forEach((links, i) => links.forEach((link) => other.key.addLink(i, link)));
          return other.edge;
        }
      }
    }
    for (const key of keys) {
      if (!key.isRandom)
        this.#claims.set(key.digest, [...(this.#claims.get(key.digest) ?? []), { key, edge }]);
    }
    return edge;
  }

  /** Waits while another build runs the step of this key; a result that it made is in the local store then. */
  async turn(key: KeyNode): Promise<Turn | undefined> {
    const record =
      key.isRandom || key.inputs.length === 0
        ? undefined
        : this.#storable(key, (node) => [...node.idsIn(this.local)]);
    if (!record || !this.#options.alone) return undefined;
    const inputs = record.inputs.map((links) =>
      links.map(({ parent, selector }) => `${parent} ${selector ?? ""}`).sort(),
    );
    const turn = await this.#options.alone(digestOf(JSON.stringify([record.digest, inputs])));
    if (turn.waited) forgetMisses();
    return turn;
  }

  /** Runs a step, once for all its outputs. */
  run(vertex: Vertex<R>, inputs: readonly EdgeState<R>[], lookup: Lookup): Promise<readonly R[]> {
    let running = this.#runs.get(vertex.digest);
    if (!running) {
      running = this.#run(vertex, inputs, lookup);
      this.#runs.set(vertex.digest, running);
    }
    return running;
  }

  async #run(vertex: Vertex<R>, inputs: readonly EdgeState<R>[], lookup: Lookup): Promise<readonly R[]> {
    this.#start(vertex);
    try {
      const outputs = await this.withResults(inputs, (values) => {
        const task = (): Promise<readonly R[]> => vertex.op.run(values, this.signal);
        return this.#options.during ? this.#options.during(vertex.digest, task) : task();
      });
      this.#complete(vertex, lookup, undefined);
      return outputs;
    } catch (error) {
      this.#complete(vertex, undefined, error as Error);
      throw error;
    }
  }

  /** A step that was found is to run after all. */
  reopen(vertex: Vertex<R>): void {
    this.#started.delete(vertex.digest);
    this.#completed.delete(vertex.digest);
  }

  completed(vertex: Vertex<R>, lookup: Lookup): void {
    this.#start(vertex);
    this.#complete(vertex, lookup, undefined);
  }

  warn(message: string): void {
    this.#options.warn(message);
  }

  /** Adds what a store knows of a hit's alternatives, so that an export says no less than the import did. */
  adopt(key: KeyNode, store: CacheStore<R>, ids: readonly RecordId[]): void {
    if (key.isRandom) return;
    for (const id of ids) {
      const record = store.record(id);
      record?.inputs.forEach((links, i) => {
        for (const { parent, selector } of links) {
          const node = this.#nodeOf(store, parent);
          if (node && key.inputs[i]) key.addLink(i, { parent: node, selector });
        }
      });
    }
  }

  #nodeOf(store: CacheStore<R>, id: RecordId): KeyNode | undefined {
    const known = this.#adopted.get(store) ?? new Map<RecordId, KeyNode>();
    this.#adopted.set(store, known);
    const existing = known.get(id);
    if (existing) return existing;
    const record = store.record(id);
    if (!record) return undefined;
    const node =
      record.inputs.length === 0
        ? this.rootKey(record.digest)
        : new KeyNode(
            record.digest,
            record.inputs.map(() => []),
            false,
          );
    known.set(id, node);
    if (record.inputs.length > 0) node.remember(store, id);
    this.adopt(node, store, [id]);
    return node;
  }

  /** Records a key and its result in the local store. */
  save(key: KeyNode, value: R, createdAt: number): void {
    const { local } = this.#options;
    const saved = (node: KeyNode): RecordId[] => {
      if (node.isRandom) return [];
      const ids = node.idsIn(local);
      if (ids.size > 0) return [...ids];
      const record = this.#storable(node, saved);
      if (!record) return [];
      const id = local.save(record, undefined);
      node.remember(local, id);
      return [id];
    };
    if (key.isRandom) return;
    const record = this.#storable(key, saved);
    if (!record) return;
    key.remember(local, local.save(record, value, createdAt));
  }

  #storable(node: KeyNode, saved: (node: KeyNode) => RecordId[]): StoredRecord | undefined {
    const inputs = node.inputs.map((links) =>
      links.flatMap(({ parent, selector }) => saved(parent).map((id) => ({ parent: id, selector }))),
    );
    return inputs.some((links) => links.length === 0) ? undefined : { digest: node.digest, inputs };
  }

  /** Steps that a cached one stands on were found too, though nothing needed them. */
  async #reportUnused(): Promise<void> {
    for (const state of this.#edges.values()) {
      if (this.#completed.has(state.vertex.digest)) continue;
      const lookup = await state.knownLookup();
      if (lookup || state.vertex.isSource)
        this.completed(state.vertex, lookup ?? { kind: "hit", source: "not needed" });
    }
  }

  #start(vertex: Vertex<R>): void {
    if (this.#started.has(vertex.digest)) return;
    this.#started.add(vertex.digest);
    this.#options.events.started(vertex.digest);
  }

  #complete(vertex: Vertex<R>, lookup: Lookup | undefined, error: Error | undefined): void {
    if (this.#completed.has(vertex.digest)) return;
    this.#completed.add(vertex.digest);
    this.#options.events.completed(vertex.digest, lookup, error);
  }
}

/** Both have, for every input, an alternative in common. */
function sameKey(a: KeyNode, b: KeyNode): boolean {
  if (a === b) return true;
  if (a.digest !== b.digest || a.inputs.length !== b.inputs.length) return false;
  return a.inputs.every((links, i) =>
    links.some((link) =>
      b.inputs[i]!.some((other) => link.selector === other.selector && sameParent(link.parent, other.parent)),
    ),
  );
}

function sameParent(a: KeyNode, b: KeyNode): boolean {
  if (a === b) return true;
  if (a.isRandom || b.isRandom || a.digest !== b.digest) return false;
  return a.inputs.length === 0
    ? b.inputs.length === 0
    : a.result !== undefined && a.result.value === b.result?.value;
}
