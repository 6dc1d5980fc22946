export type { Material, OpContext, RefResult } from "./context.js";
export { loadDefinition, type LoadedGraph } from "./load.js";
