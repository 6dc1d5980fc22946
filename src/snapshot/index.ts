export * from "./types.js";
export { Ref, RefStore } from "./ref-store.js";
