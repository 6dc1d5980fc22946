export { TaskError } from "./task-error.js";
export type * from "./types.js";
export { Worker, type OutputListener, type ProcessInput } from "./worker.js";
