export type * from "./types.js";
export { Progress, transfer, type Moved, type Step } from "./progress.js";
