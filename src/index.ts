// The library: building images from code.
export {
  Engine,
  type Builder,
  type BuildRequest,
  type BuildResponse,
  type EngineOptions,
  type Entry,
} from "./builder/index.js";
export { RemoteBuilder, type Endpoint, type RemoteBuilderOptions } from "./control/index.js";
export { DockerCredentials, type CredentialSource } from "./registry/index.js";
export { BuildError, Secret } from "./lib/index.js";
export type { ProgressEvent } from "./progress/index.js";
