export type { OpContext, RefResult } from "./context.js";
export { loadDefinition, type LoadedGraph } from "./load.js";
