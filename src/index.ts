// The library: building images from code.
export {
  Engine,
  type Builder,
  type BuildRequest,
  type BuildResponse,
  type EngineOptions,
  type Output,
} from "./builder/index.js";
export { BuildError, Secret } from "./lib/index.js";
export type { ProgressEvent } from "./progress/index.js";
