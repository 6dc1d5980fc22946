// Cache keys of one engine's builds: nodes that name a step's output by what it does and, for every input, the set of
// keys the input is known by. Two edges with a key in common are the same result.
import { digestOf, type Digest } from "../lib/index.js";
import type { CacheStore, RecordId } from "./types.js";

/** Grows with every link that is added anywhere: what was not found before may be found since. */
let linkCount = 0;

/** Keys that are being looked up, one on behalf of another. */
const open = new Set<KeyNode>();
/** how often one of them was met again */
let circles = 0;
const NONE: ReadonlySet<RecordId> = new Set();

/** Records may have come into a store from elsewhere: what was not found before may be found now. */
export function forgetMisses(): void {
  linkCount++;
}

export interface KeyLink {
  readonly parent: KeyNode;
  readonly selector: Digest | undefined;
}

export class KeyNode {
  /** sha256 of "KEY@OUTPUT" */
  readonly digest: Digest;
  /** never shared: made of a random key */
  readonly isRandom: boolean;
  /** alternatives of each input */
  readonly inputs: KeyLink[][];
  /** the edge's result, once there is one */
  result: { readonly value: unknown; readonly createdAt: number } | undefined;
  /** ids of this key in stores, as far as they were looked up; an empty set holds until a link is added */
  readonly #ids = new Map<object, { readonly ids: Set<RecordId>; readonly at: number }>();

  constructor(digest: Digest, inputs: KeyLink[][], isRandom: boolean) {
    this.digest = digest;
    this.inputs = inputs;
    this.isRandom = isRandom;
  }

  /** what it stands on, by all alternatives */
  get parents(): KeyNode[] {
    return this.inputs.flatMap((links) => links.map(({ parent }) => parent));
  }

  addLink(input: number, link: KeyLink): void {
    const links = this.inputs[input]!;
    if (links.some((other) => other.parent === link.parent && other.selector === link.selector)) return;
    links.push(link);
    linkCount++;
  }

  /**
   * The records of a store that this key is known by. Keys may go round in circles: a step that copies a file of its own
   * result onto itself is the same step. What was found on the way round is not kept, because it may not be all.
   */
  idsIn<R>(store: CacheStore<R>): ReadonlySet<RecordId> {
    // from the bottom up: no call is as deep as the graph
    for (const node of this.#unknownBelow(store)) node.#idsIn(store);
    return this.#idsIn(store);
  }

  #idsIn<R>(store: CacheStore<R>): ReadonlySet<RecordId> {
    const known = this.#known(store);
    if (known) return known;
    if (open.has(this)) {
      circles++;
      return NONE;
    }
    open.add(this);
    const before = circles;
    try {
      const ids = this.#lookUp(store);
      if (circles === before || open.size === 1) this.#ids.set(store, { ids, at: linkCount });
      return ids;
    } finally {
      open.delete(this);
    }
  }

  #known(store: object): ReadonlySet<RecordId> | undefined {
    const known = this.#ids.get(store);
    return known && (known.ids.size > 0 || known.at === linkCount) ? known.ids : undefined;
  }

  /** Keys that have to be looked up before this one, each after those it stands on. */
  #unknownBelow(store: object): readonly KeyNode[] {
    if (this.#known(store)) return [];
    const order: KeyNode[] = [];
    const seen = new Set<KeyNode>([this]);
    const stack = [{ node: this as KeyNode, pending: this.inputs.flat() }];
    for (let top = stack.at(-1); top; top = stack.at(-1)) {
      const next = top.pending.pop()?.parent;
      if (!next) order.push(stack.pop()!.node);
      else if (!seen.has(next) && !open.has(next) && !next.#known(store)) {
        seen.add(next);
        stack.push({ node: next, pending: next.inputs.flat() });
      }
    }
    order.pop();
    return order;
  }

  remember<R>(store: CacheStore<R>, id: RecordId): void {
    const ids = new Set(this.#ids.get(store)?.ids).add(id);
    this.#ids.set(store, { ids, at: ++linkCount });
  }

  #lookUp<R>(store: CacheStore<R>): Set<RecordId> {
    if (this.isRandom) return new Set();
    if (this.inputs.length === 0) return new Set(store.roots(this.digest));
    const [first, ...rest] = this.inputs.map((_, i) => this.candidates(store, i));
    return new Set([...first!].filter((id) => rest.every((ids) => ids.has(id))));
  }

  /** Records with this digest that have one of the keys of input `i` as theirs. */
  candidates<R>(store: CacheStore<R>, i: number): Set<RecordId> {
    const found = new Set<RecordId>();
    for (const { parent, selector } of this.inputs[i]!) {
      for (const id of parent.idsIn(store))
        for (const child of store.children(id, i, this.digest, selector)) found.add(child);
    }
    return found;
  }
}

/** The digest under which a key is recorded; content keys have output -1. */
export function recordDigest(key: string, output: number): Digest {
  return digestOf(`${key}@${output}`);
}
