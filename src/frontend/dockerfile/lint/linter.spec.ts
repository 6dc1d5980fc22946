// What the recordings don't show: options, and rules that need unusual images.
import { describe, expect, it } from "vitest";
import { parseDockerfile } from "../parser/index.js";
import { parseStages } from "../instructions/index.js";
import { lineRange } from "../source-error.js";
import { Linter, parseLintOptions } from "./linter.js";
import { checkFile, checkNode } from "./node-checks.js";
import { checkSecretName } from "./stage-checks.js";

function rulesOf(text: string, options = ""): string[] {
  const lint = new Linter(parseLintOptions(options));
  const dockerfile = parseDockerfile(Buffer.from(text));
  checkFile(dockerfile, lint);
  parseStages(dockerfile.nodes, (node) => checkNode(node, lint));
  return lint.warnings.map(({ rule, ranges }) => `${rule}:${ranges[0]!.start.line}`);
}

const TEXT = "from scratch AS Mixed\nMAINTAINER me\nCOPY a /\n";

describe("Linter", () => {
  it("skips the rules it is told to", () => {
    expect(rulesOf(TEXT)).toEqual([
      "ConsistentInstructionCasing:1",
      "FromAsCasing:1",
      "StageNameCasing:1",
      "MaintainerDeprecated:2",
    ]);
    expect(rulesOf(TEXT, "skip=FromAsCasing, StageNameCasing")).toEqual([
      "ConsistentInstructionCasing:1",
      "MaintainerDeprecated:2",
    ]);
    expect(rulesOf(TEXT, "skip=all;error=true")).toEqual([]);
  });

  it("has experimental rules on request only", () => {
    const text = "# about something else\nARG foo\n# base is the base\nFROM scratch AS base\n";
    expect(rulesOf(text)).toEqual([]);
    expect(rulesOf(text, "experimental=InvalidDefinitionDescription")).toEqual([
      "InvalidDefinitionDescription:2",
    ]);
    expect(rulesOf(text, "experimental=all;skip=all")).toEqual(["InvalidDefinitionDescription:2"]);
  });

  it("makes warnings errors if it is told to", () => {
    const lint = new Linter(parseLintOptions("error=true"));
    lint.finish();
    lint.warn("UndefinedVar", lineRange(3), "x");
    lint.warn("UndefinedVar", lineRange(4), "y");
    expect(() => lint.finish()).toThrow("lint violation found for rules: UndefinedVar");
  });

  it.each([
    ["skipp=all", 'invalid check option "skipp"'],
    ["all", 'invalid check option "all"'],
    ["error=maybe", 'strconv.ParseBool: parsing "maybe"'],
  ])("refuses the option %s", (text, message) => {
    expect(() => parseLintOptions(text)).toThrow(message);
  });

  it.each([
    ["API_KEY", true],
    ["token", true],
    ["secret_message", true],
    ["PUBLIC_KEY", false],
    ["KEYBOARD", false],
    ["MONKEY", false],
  ])("takes %s for a secret: %s", (name, isSecret) => {
    const lint = new Linter(parseLintOptions(""));
    checkSecretName("ENV", name, lineRange(1), lint);
    expect(lint.warnings.length > 0).toBe(isSecret);
  });
});
