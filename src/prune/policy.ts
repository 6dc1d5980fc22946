// Garbage collection: what is removed without anybody asking. The rules are BuildKit's: short-lived things first, then
// what nobody has used for long, then the least recently used, until the limits are kept.
import type { PruneOptions } from "./types.js";
import { PRUNE_ALL } from "./types.js";

export interface GcLimits {
  /** bytes that are never collected */
  readonly reservedSpace: number;
  /** bytes at most */
  readonly maxUsedSpace: number;
  /** bytes that the disk shall have free */
  readonly minFreeSpace: number;
  /** milliseconds: what was used more recently stays as long as the limits allow */
  readonly keepDuration: number;
}

const HOUR = 3_600_000;
const SHORT_LIVED = 512e6;

/** @param diskSize bytes of the disk that the state folder is on */
export function defaultLimits(diskSize: number): GcLimits {
  return {
    reservedSpace: Math.round(diskSize * 0.1),
    maxUsedSpace: Math.round(diskSize * 0.6),
    minFreeSpace: Math.round(diskSize * 0.2),
    keepDuration: 60 * 24 * HOUR,
  };
}

/** One after another; each is a prune of its own. */
export function gcPolicies({ keepDuration, ...limits }: GcLimits): readonly PruneOptions[] {
  const shortLived = ["source.local", "exec.cachemount", "source.git.checkout"];
  return [
    ...shortLived.map((kind) => ({
      ...PRUNE_ALL,
      filters: [`type=${kind}`],
      keepDuration: 48 * HOUR,
      maxUsedSpace: SHORT_LIVED,
    })),
    { ...PRUNE_ALL, keepDuration, maxUsedSpace: limits.reservedSpace },
    { ...PRUNE_ALL, ...limits, all: false },
    { ...PRUNE_ALL, ...limits },
  ];
}

/**
 * Bytes that a prune leaves; 0 if there is no limit and everything goes.
 * @param used bytes that all records take
 * @param free bytes that the disk has free
 */
export function keptBytes(options: PruneOptions, used: number, free: number): number {
  const { reservedSpace, maxUsedSpace, minFreeSpace } = options;
  const excess = Math.max(0, minFreeSpace - free);
  // a disk that is free enough asks for nothing
  const allowed = maxUsedSpace > 0 ? maxUsedSpace : minFreeSpace > 0 ? used : 0;
  return Math.max(Math.min(allowed, used - excess), reservedSpace);
}
