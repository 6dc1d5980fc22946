export type * from "./types.js";
export { LocalBackend } from "./backend.js";
export { DiskStore } from "./disk-store.js";
