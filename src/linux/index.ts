export * from "./types.js";
export * from "./libc.js";
export * from "./user-namespace.js";
