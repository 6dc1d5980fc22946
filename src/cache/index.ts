export type * from "./types.js";
export { AZBLOB_ATTRIBUTES, AzblobBackend, azblobConfig, type AzblobConfig } from "./azblob/index.js";
export { buildManifest, type ResultLayer } from "./export.js";
export { ImportedCache } from "./import.js";
export { LocalCacheStore, type RefResult } from "./local-store.js";
export { CACHE_CONFIG_MEDIA_TYPE, decodeManifest, encodeManifest } from "./manifest.js";
