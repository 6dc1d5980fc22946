export type * from "./types.js";
export { AZBLOB_ATTRIBUTES, azblobConfig } from "./config.js";
export { AzblobBackend } from "./backend.js";
