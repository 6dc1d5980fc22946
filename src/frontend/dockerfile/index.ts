export { buildDockerfile } from "./build.js";
export { describeDockerfile } from "./describe.js";
export { parseGitRef } from "./git-ref.js";
export { descriptionJson, descriptionOf } from "./describe-json.js";
export { FrontendImageError } from "./syntax.js";
export { SourceError, type SourceExcerpt } from "./source-error.js";
export {
  formatPlatform,
  hostPlatform,
  workerPlatforms,
  normalizePlatform,
  parsePlatform,
  samePlatform,
} from "./convert/index.js";
export { parseSize } from "./instructions/index.js";
