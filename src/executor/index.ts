export type * from "./types.js";
export { findRuntime, hostResolvConf, killLeftovers, runContainer, type Runtime } from "./runtime.js";
export { lookupId, lookupUser, type ContainerUser } from "./user.js";
