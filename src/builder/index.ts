export type * from "./types.js";
export { Engine, type EngineOptions } from "./engine.js";
export { cacheExportOf, cacheImportOf, entriesOf, outputOf } from "./entries.js";
export { packedAs } from "./build.js";
export { nameImage } from "./write-archive.js";
export { annotationsOf } from "./image-options.js";
export { FrontendContainer, type ContainerRequest, type ProcessRequest } from "./container.js";
export { exportBuild, type Outcome, type Outcomes } from "./export-build.js";
export { beginExports } from "./export-cache.js";
export { provenance, type ProvenanceRequest } from "./provenance.js";
export {
  invalidAttestation,
  isSbomCore,
  MAX_PREDICATE,
  parseAttestation,
  readBundle,
} from "./attestation-files.js";
export { Job, type JobOptions, type Solution } from "./job.js";
