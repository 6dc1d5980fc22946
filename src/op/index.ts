export type { Material, OpContext, RefResult } from "./context.js";
export { ExitError } from "./exec-op.js";
export type { LeftBehind } from "./left-behind.js";
export { ExecMounts, secretVariables } from "./exec-mounts.js";
export { loadDefinition, type LoadedGraph } from "./load.js";
export { sessionOf } from "./local-op.js";
