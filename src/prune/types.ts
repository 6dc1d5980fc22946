// What a state folder holds, and what may be removed of it: the vocabulary of `du`, `prune` and garbage collection.
// Names and meanings are BuildKit's.
import type { LayerKind } from "../snapshot/index.js";

/** "internal": manifests and configs of images that no layer needs */
export type UsageKind = LayerKind | "exec.cachemount" | "internal";

export interface UsageRecord {
  readonly id: string;
  readonly kind: UsageKind;
  readonly parents: readonly string[];
  /** milliseconds since 1970 */
  readonly createdAt: number;
  readonly lastUsedAt: number | undefined;
  readonly usageCount: number;
  /** bytes on disk */
  readonly size: number;
  readonly description: string;
  /** its content may still change */
  readonly mutable: boolean;
  /** a build works with it, or something that stands on it is used */
  readonly inUse: boolean;
}

export interface PruneOptions {
  /** internal records too */
  readonly all: boolean;
  /** each "key=value", "key!=value" or "key~=regex"; all of them have to hold */
  readonly filters: readonly string[];
  /** milliseconds: what was used more recently stays */
  readonly keepDuration: number;
  /** bytes that are always left, if there are as many; 0: none */
  readonly reservedSpace: number;
  /** bytes that may be left; 0: no limit of this kind */
  readonly maxUsedSpace: number;
  /** bytes that the disk shall have free; 0: no limit of this kind */
  readonly minFreeSpace: number;
}

export const PRUNE_ALL: PruneOptions = {
  all: true,
  filters: [],
  keepDuration: 0,
  reservedSpace: 0,
  maxUsedSpace: 0,
  minFreeSpace: 0,
};
