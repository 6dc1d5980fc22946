export type * from "./types.js";
export { Engine, type EngineOptions } from "./engine.js";
