export type * from "./types.js";
export { PRUNE_ALL } from "./types.js";
export { checkStore, type CheckReport } from "./check.js";
export type { GcLimits } from "./policy.js";
export { PruneStore, type PruneParts } from "./store.js";
