export * from "./types.js";
export { Ref, RefStore } from "./ref-store.js";
export { compressionOf, DEFAULT_FORMAT, FORMAT_ATTRIBUTES, layerFormat, type LayerFormat } from "./format.js";
