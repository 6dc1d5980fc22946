export type * from "./types.js";
export { resumable } from "./resumable.js";
export { BlobStore } from "./blob-store.js";
export { Database, type Table } from "./database.js";
export { StateDir } from "./state-dir.js";
export { FileLocks, type HeldLock } from "./file-lock.js";
