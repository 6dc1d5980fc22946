export { buildDockerfile } from "./build.js";
export { SourceError, type SourceExcerpt } from "./source-error.js";
export {
  formatPlatform,
  hostPlatform,
  normalizePlatform,
  parsePlatform,
  samePlatform,
} from "./convert/index.js";
export { parseSize } from "./instructions/index.js";
