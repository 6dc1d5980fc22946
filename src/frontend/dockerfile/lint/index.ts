export type * from "./types.js";
export type { RuleName } from "./rules.js";
export { Linter, parseLintOptions } from "./linter.js";
export { checkFile, checkNode } from "./node-checks.js";
export {
  checkDefaultBaseNames,
  checkFromArgs,
  checkFromPlatform,
  checkSecretName,
  checkStageNames,
  checkVariables,
} from "./stage-checks.js";
