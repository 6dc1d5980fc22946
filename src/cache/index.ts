export type * from "./types.js";
export {
  cacheExport,
  cacheImport,
  CachePlaces,
  timeoutOf,
  type CacheExport,
  type CacheImport,
  type CachePlace,
} from "./config.js";
export { rememberCorrupt } from "./corrupt.js";
export { buildManifest, type ResultLayer } from "./export.js";
export { ImportedCache } from "./import.js";
export { DiskStore, type OciStore } from "./local/index.js";
export { INLINE_KEY } from "./oci.js";
export { inlineRecords } from "./inline.js";
export { LocalCacheStore, type RefResult } from "./local-store.js";
export { CACHE_CONFIG_MEDIA_TYPE, decodeManifest, encodeManifest } from "./manifest.js";
