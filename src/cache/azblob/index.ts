export type * from "./types.js";
export { AZBLOB_ATTRIBUTES, AZBLOB_EXPORT_ATTRIBUTES, azblobConfig } from "./config.js";
export { AzblobBackend, AzblobPlace } from "./backend.js";
