export type * from "./types.js";
export { InProcessSession, readSecret, type InProcessOptions, type SecretSource } from "./in-process.js";
