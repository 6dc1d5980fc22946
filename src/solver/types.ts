// The vocabulary of the solver. It knows graphs, cache keys and results of some type R; nothing of files or images.
import type { Digest } from "../lib/index.js";

/** An output of a vertex. */
export interface Edge {
  readonly vertex: Digest;
  readonly index: number;
}

export interface CacheMapInput<R> {
  /** narrows the input's key: the same input read at another path is another key */
  readonly selector?: Digest;
  /** a key made of what the step reads of the input, for when the input's own key is new */
  readonly contentDigest?: (result: R, signal: AbortSignal) => Promise<Digest>;
}

export interface CacheMap<R> {
  /** what the step does; with the keys of its inputs it is the step's cache key. "random:..." is never shared */
  readonly digest: string;
  readonly inputs: readonly CacheMapInput<R>[];
}

export interface Op<R> {
  /** All keys of the step: one, or several alternatives for a step without inputs. */
  cacheMaps(signal: AbortSignal): Promise<readonly CacheMap<R>[]>;
  run(inputs: readonly R[], signal: AbortSignal): Promise<readonly R[]>;
}

export interface Vertex<R> {
  readonly digest: Digest;
  readonly name: string;
  readonly inputs: readonly Edge[];
  readonly ignoreCache: boolean;
  readonly op: Op<R>;
  /** a source: shown as cached only by itself */
  readonly isSource: boolean;
  /** a source whose result is kept: where it is had from may be slow, or gone */
  readonly isKept?: boolean;
}

export type RecordId = string;

export interface RecordLink {
  readonly parent: RecordId;
  readonly selector: Digest | undefined;
}

export interface StoredRecord {
  /** sha256 of "KEY@OUTPUT" */
  readonly digest: Digest;
  /** for each input its alternatives */
  readonly inputs: readonly (readonly RecordLink[])[];
}

export interface StoredResult<R> {
  /** milliseconds since 1970 */
  readonly createdAt: number;
  /** `undefined` if the result is no longer there */
  load(signal: AbortSignal): Promise<R | undefined>;
}

/** Records of steps done before, in this folder or elsewhere. */
export interface CacheStore<R> {
  /** "local", or the name of an import */
  readonly name: string;
  /** records without inputs */
  roots(digest: Digest): readonly RecordId[];
  /** records with this digest that have `parent` among the alternatives of their input `input` */
  children(
    parent: RecordId,
    input: number,
    digest: Digest,
    selector: Digest | undefined,
  ): readonly RecordId[];
  record(id: RecordId): StoredRecord | undefined;
  results(id: RecordId): readonly StoredResult<R>[];
}

/** A store that takes new records. */
export interface WritableCacheStore<R> extends CacheStore<R> {
  /** @param createdAt of the result; milliseconds since 1970 */
  save(record: StoredRecord, result: R | undefined, createdAt?: number): RecordId;
}

export type MissReason =
  | { readonly kind: "no-cache" }
  | { readonly kind: "unknown-step" }
  | { readonly kind: "input-changed"; readonly input: number }
  | { readonly kind: "result-gone"; readonly source: string; readonly message: string };

export type Lookup =
  { readonly kind: "hit"; readonly source: string } | { readonly kind: "miss"; readonly reason: MissReason };

export interface SolverEvents {
  started(vertex: Digest): void;
  /** `lookup`: how the step was found, or why it was not */
  completed(vertex: Digest, lookup: Lookup | undefined, error: Error | undefined): void;
}
