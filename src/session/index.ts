export type * from "./types.js";
export { InProcessSession, type InProcessOptions, type SecretSource } from "./in-process.js";
