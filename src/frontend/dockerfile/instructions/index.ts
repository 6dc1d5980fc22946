export type * from "./types.js";
export { parseStages, parseTrigger } from "./parse.js";
export { parseDevice } from "./device.js";
export { mountFrom, parseMount, parseSize } from "./mount.js";
export { closest, suggest } from "./suggest.js";
export { parseDuration } from "./duration.js";
