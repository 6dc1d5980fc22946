export type * from "./types.js";
export type { Endpoint, RemoteBuilderOptions } from "./client/types.js";
export { RemoteBuilder } from "./client/remote-builder.js";
export { Daemon } from "./daemon.js";
