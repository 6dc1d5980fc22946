export type * from "./types.js";
export * from "./dockerfile/index.js";
