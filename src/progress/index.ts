export type * from "./types.js";
export { Progress, type Step } from "./progress.js";
