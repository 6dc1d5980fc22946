export type * from "./types.js";
export * from "./dockerfile/index.js";
export { CORE, sbomRequest, sbomScanner, SPDX } from "./sbom.js";
