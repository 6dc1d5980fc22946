export * from "./types.js";
export * from "./layer-files.js";
export { Activity } from "./activity.js";
export { CacheMounts, type CacheMount, type CacheMountRequest } from "./cache-mounts.js";
export { compressionOf, DEFAULT_FORMAT, FORMAT_ATTRIBUTES, layerFormat, type LayerFormat } from "./format.js";
export { LocalSources } from "./local-sources.js";
export { LayerTable } from "./layer-table.js";
export { Ref } from "./ref.js";
export { RefStore } from "./ref-store.js";
