// Rules that need nothing but the text: casing, comments, what is deprecated.
import type { Node, ParsedDockerfile } from "../parser/index.js";
import type { Linter } from "./linter.js";

/** The file as a whole. */
export function checkFile({ nodes, warnings }: ParsedDockerfile, lint: Linter): void {
  for (const { rule, range } of warnings) lint.warn(rule, range, "Empty continuation line");
  const lower = nodes.filter(({ keyword }) => isLower(keyword)).length;
  const upper = nodes.filter(({ keyword }) => isUpper(keyword)).length;
  const [isRight, casing] = lower > upper ? [isLower, "lowercase"] : [isUpper, "uppercase"];
  for (const { keyword, range } of nodes) {
    if (isRight(keyword)) continue;
    const detail = `Command '${keyword}' should match the case of the command majority (${casing})`;
    lint.warn("ConsistentInstructionCasing", range, detail);
  }
}

/** One instruction, before it is parsed. */
export function checkNode({ keyword, args, comments, range }: Node, lint: Linter): void {
  const kind = keyword.toUpperCase();
  switch (kind) {
    case "FROM": {
      if (args.length !== 3) return;
      const [, as, name] = args as [string, string, string];
      if (name !== name.toLowerCase())
        lint.warn("StageNameCasing", range, `Stage name '${name}' should be lowercase`);
      if ((isLower(keyword) && !isLower(as)) || (isUpper(keyword) && !isUpper(as)))
        lint.warn("FromAsCasing", range, `'${as}' and '${keyword}' keywords' casing do not match`);
      return checkDescription("FROM", [name.toLowerCase()], comments, range, lint);
    }
    case "ARG": {
      const names = args.map((arg) => arg.split("=", 1)[0]!);
      return checkDescription("ARG", names, comments, range, lint);
    }
    case "MAINTAINER":
      lint.warn(
        "MaintainerDeprecated",
        range,
        "Maintainer instruction is deprecated in favor of using label",
      );
  }
}

function checkDescription(
  instruction: string,
  names: readonly string[],
  comments: readonly string[],
  range: Node["range"],
  lint: Linter,
): void {
  const first = comments.at(-1)?.split(" ")[0];
  if (first === undefined || names.length === 0 || names.includes(first)) return;
  const example = names.length > 1 ? "<arg_key>" : names[0]!;
  lint.warn(
    "InvalidDefinitionDescription",
    range,
    `Comment for ${instruction} should follow the format: \`# ${example} <description>\``,
  );
}

function isLower(text: string): boolean {
  return text === text.toLowerCase();
}

function isUpper(text: string): boolean {
  return text === text.toUpperCase();
}
