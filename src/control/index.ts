export type * from "./types.js";
export { Daemon } from "./daemon.js";
