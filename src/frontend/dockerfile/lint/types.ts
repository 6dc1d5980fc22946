// What the linter says about a Dockerfile.
import type { FrontendWarning } from "../../types.js";
import type { RuleName } from "./rules.js";

export interface LintWarning extends FrontendWarning {
  readonly rule: RuleName;
}
