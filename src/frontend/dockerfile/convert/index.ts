export { convert, type ConvertInput } from "./convert.js";
export { parseImageConfig } from "./image-config.js";
export { descriptionOf } from "./outline.js";
export {
  formatPlatform,
  hostPlatform,
  normalizePlatform,
  parsePlatform,
  samePlatform,
  workerPlatforms,
} from "./platform.js";
