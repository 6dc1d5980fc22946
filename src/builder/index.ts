export type * from "./types.js";
export { Engine, type EngineOptions } from "./engine.js";
export { packedAs } from "./build.js";
export { FrontendContainer, type ContainerRequest } from "./container.js";
export { exportBuild, type Outcome, type Outcomes } from "./export-build.js";
export { beginExports } from "./export-cache.js";
export { imageOptions, outputFlag } from "./image-options.js";
export { provenance, type ProvenanceRequest } from "./provenance.js";
export { Job, type JobOptions, type Solution } from "./job.js";
