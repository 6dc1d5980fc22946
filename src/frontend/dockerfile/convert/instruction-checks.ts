// What the linter says about instructions where they stand: their variables, forms and sources.
import type { Instruction, InstructionOf } from "../instructions/index.js";
import { parseGitRef } from "../git-ref.js";
import { checkVariables } from "../lint/index.js";
import { ExpansionError, expandWord, type ExpandOptions } from "../shell/index.js";
import type { ConvertContext } from "./context.js";
import { clean } from "./path.js";
import { envLookup, type StageState } from "./stage-state.js";

/** Arguments that steer the build and never reach a step. */
export const NOT_IN_ENV = new Set(["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"]);

/** Expands a word of an instruction and warns of variables that nothing has set. */
export function expandLinted(
  state: StageState,
  command: Instruction,
  word: string,
  context: ConvertContext,
  shell: ExpandOptions = context.shell,
): string {
  const warn = (unmatched: ReadonlySet<string>): void => {
    if (unmatched.size === 0) return;
    const named = new Set([...state.buildArgs.map(({ key }) => key), ...NOT_IN_ENV]);
    const unknown = [...unmatched].filter((name) => !named.has(name));
    const known = state.env.map(([name]) => name);
    checkVariables(unknown, known, command.range, context.lint);
  };
  try {
    const { text, unmatched } = expandWord(word, envLookup(state.env), shell);
    warn(unmatched);
    return text;
  } catch (error) {
    if (error instanceof ExpansionError) warn(error.unmatched);
    throw error;
  }
}

export function checkLegacyForm(
  { kind, pairs, range }: InstructionOf<"ENV" | "LABEL">,
  { lint }: ConvertContext,
): void {
  if (!pairs.some(({ noDelimiter }) => noDelimiter)) return;
  const detail = `"${kind} key=value" should be used instead of legacy "${kind} key value" format`;
  lint.warn("LegacyKeyValueFormat", range, detail);
}

/** Of some instructions only the last one counts; the warning is about the one before. */
export function checkOnce(state: StageState, { kind, range }: Instruction, context: ConvertContext): void {
  const before = state.once.get(kind);
  if (before) {
    const detail = `Multiple ${kind} instructions should not be used in the same stage because only the last one will be used`;
    context.lint.warn("MultipleInstructionsDisallowed", before, detail);
  }
  state.once.set(kind, range);
}

/** A URL or a git repository. */
export function isRemote(source: string): boolean {
  const git = parseGitRef(source);
  return /^https?:\/\//.test(source) || (git !== undefined && !git.looksLocal);
}

export function checkIgnored(
  { kind, range }: InstructionOf<"ADD" | "COPY">,
  paths: readonly string[],
  { lint, ignored }: ConvertContext,
): void {
  // with exceptions it is not certain what is left of a folder
  if (ignored.isEmpty || ignored.hasExclusions) return;
  for (const path of paths) {
    const name = clean(path);
    if (isRemote(path) || !ignored.matchesWithParents(name)) continue;
    const verb = kind === "ADD" ? "Add" : "Copy";
    lint.warn(
      "CopyIgnoredFile",
      range,
      `Attempting to ${verb} file "${name}" that is excluded by .dockerignore`,
    );
  }
}
