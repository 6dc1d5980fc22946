export type * from "./types.js";
export { Worker, type OutputListener } from "./worker.js";
