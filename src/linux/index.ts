export * from "./types.js";
export * from "./libc.js";
