export type { Material, OpContext, RefResult } from "./context.js";
export { ExecMounts, secretVariables } from "./exec-mounts.js";
export { loadDefinition, type LoadedGraph } from "./load.js";
