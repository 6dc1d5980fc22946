export { convert, type ConvertInput } from "./convert.js";
export { descriptionOf } from "./outline.js";
export {
  formatPlatform,
  hostPlatform,
  normalizePlatform,
  parsePlatform,
  samePlatform,
  workerPlatforms,
} from "./platform.js";
