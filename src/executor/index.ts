export type * from "./types.js";
export {
  CDI_FOLDERS,
  checkDevicesAllowed,
  deviceEdits,
  isAutoAllowed,
  NO_EDITS,
  readCdiDevices,
  type CdiDevice,
  type CdiDevices,
} from "./cdi.js";
export { ProcessControl } from "./process.js";
export {
  execInContainer,
  findRuntime,
  killLeftovers,
  resolvConf,
  runContainer,
  type Runtime,
  type RuntimeWish,
} from "./runtime.js";
export { lookupId, lookupUser, type ContainerUser } from "./user.js";
