// Rules about FROM lines and about what instructions mean where they stand.
import { parseReference } from "../../../registry/index.js";
import type { Platform, Range } from "../../../llb/index.js";
import { closest, type Stage } from "../instructions/index.js";
import { expandWord, type Expansion, type ExpandOptions } from "../shell/index.js";
import type { Linter } from "./linter.js";

const RESERVED = new Set(["context", "scratch"]);

export function checkStageNames(stages: readonly Stage[], lint: Linter): void {
  const seen = new Set<string>();
  for (const { name, range } of stages) {
    if (name === "") continue;
    if (RESERVED.has(name)) {
      const detail = `Stage name should not use the same name as reserved stage "${name}"`;
      lint.warn("ReservedStageName", range, detail);
    }
    if (seen.has(name)) {
      const detail = `Duplicate stage name "${name}", stage names should be unique`;
      lint.warn("DuplicateStageName", range, detail);
    }
    seen.add(name);
  }
}

/** @param defaults values of the global arguments if none is given; may throw */
export function checkDefaultBaseNames(
  stages: readonly Stage[],
  defaults: () => ReadonlyMap<string, string>,
  shell: ExpandOptions,
  lint: Linter,
): void {
  let names: string[];
  try {
    const values = defaults();
    names = stages.map(({ baseName }) => expandWord(baseName, (name) => values.get(name), shell).text);
  } catch {
    return; // said by who needs the name
  }
  for (const [i, { baseName, range }] of stages.entries()) {
    try {
      parseReference(names[i]!);
    } catch {
      lint.warn(
        "InvalidDefaultArgInFrom",
        range,
        `Default value for ARG ${baseName} results in empty or invalid base image name`,
      );
    }
  }
}

/** @param declared arguments that were named before the first FROM, with or without a value */
export function checkFromArgs(
  { unmatched }: Expansion,
  declared: readonly string[],
  range: Range,
  lint: Linter,
): void {
  for (const name of unmatched) {
    if (declared.includes(name)) continue;
    const hint = didYouMean(closest(name, declared, false));
    lint.warn("UndefinedArgInFrom", range, `FROM argument '${name}' is not declared${hint}`);
  }
}

export function checkFromPlatform(
  stage: Stage,
  { text, matched, unmatched }: Expansion,
  targetPlatform: string,
  parse: (text: string) => Platform,
  lint: Linter,
): void {
  const { platform, name, range } = stage;
  if (
    matched.size === 1 &&
    unmatched.size === 0 &&
    matched.has("TARGETPLATFORM") &&
    text === targetPlatform
  ) {
    lint.warn(
      "RedundantTargetPlatform",
      range,
      `Setting platform to predefined ${platform} in FROM is redundant as this is the default behavior`,
    );
  }
  if (matched.size > 0 || unmatched.size > 0) return;
  let parsed: Platform;
  try {
    parsed = parse(text);
  } catch {
    return;
  }
  if (name.includes(parsed.OS) || name.includes(parsed.Architecture)) return;
  lint.warn(
    "FromPlatformFlagConstDisallowed",
    range,
    `FROM --platform flag should not use constant value "${text}"`,
  );
}

/** @param known variables that could have been meant */
export function checkVariables(
  unmatched: Iterable<string>,
  known: readonly string[],
  range: Range,
  lint: Linter,
): void {
  for (const name of unmatched) {
    const match = closest(name, known, false);
    const hint = didYouMean(match && `$${match}`);
    lint.warn("UndefinedVar", range, `Usage of undefined variable '$${name}'${hint}`);
  }
}

const SECRET = /(?:_|^)(?:apikey|auth|credential|credentials|key|password|pword|passwd|secret|token)(?:_|$)/i;
const PUBLIC = /(?:_|^)public(?:_|$)/i;

/** Names that look like secrets: they would end up in the image or its history. */
export function checkSecretName(instruction: "ARG" | "ENV", key: string, range: Range, lint: Linter): void {
  if (!SECRET.test(key) || PUBLIC.test(key)) return;
  const detail = `Do not use ARG or ENV instructions for sensitive data (${instruction} "${key}")`;
  lint.warn("SecretsUsedInArgOrEnv", range, detail);
}

function didYouMean(word: string | undefined): string {
  return word === undefined ? "" : ` (did you mean ${word}?)`;
}
