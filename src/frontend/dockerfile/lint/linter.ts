// Takes warnings from wherever the Dockerfile is looked at. Which rules count, and whether they are errors, is said by
// the directive "# check=skip=A,B;experimental=C;error=true" or the build argument BUILDKIT_DOCKERFILE_CHECK.
import { compareBytes, parseBool } from "../../../lib/index.js";
import type { Range } from "../../../llb/index.js";
import { eachLine } from "../source-error.js";
import { ruleOf, type RuleName } from "./rules.js";
import type { LintWarning } from "./types.js";

const BASE_URL = "https://docs.docker.com/go/dockerfile/rule/";

export interface LintOptions {
  readonly skip: "all" | ReadonlySet<string>;
  readonly experimental: "all" | ReadonlySet<string>;
  readonly error: boolean;
}

/** @throws Error `failed to parse check options: invalid check option "x"` */
export function parseLintOptions(text: string): LintOptions {
  let options: LintOptions = { skip: new Set(), experimental: new Set(), error: false };
  if (text.trim() === "") return options;
  for (const part of splitOnce(text.trim(), ";")) {
    const at = part.indexOf("=");
    const key = part.slice(0, Math.max(at, 0)).trim();
    const value = part.slice(at + 1).trim();
    if (key === "skip" || key === "experimental") {
      const names = value === "all" ? value : new Set(value.split(",").map((name) => name.trim()));
      options = { ...options, [key]: names };
    } else if (key === "error") {
      const known = parseBool(value);
      if (known === undefined) {
        const reason = `strconv.ParseBool: parsing ${JSON.stringify(value)}: invalid syntax`;
        throw new Error(
          `failed to parse check options: failed to parse check option ${JSON.stringify(part)}: ${reason}`,
        );
      }
      options = { ...options, error: known };
    } else {
      throw new Error(
        `failed to parse check options: invalid check option ${JSON.stringify(at < 0 ? part : key)}`,
      );
    }
  }
  return options;
}

function splitOnce(text: string, separator: string): string[] {
  const at = text.indexOf(separator);
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}

export class Linter {
  readonly #options: LintOptions;
  readonly #warnings: LintWarning[] = [];

  constructor(options: LintOptions) {
    this.#options = options;
  }

  warn(rule: RuleName, range: Range, detail: string): void {
    const { slug, description, experimental } = ruleOf(rule);
    const { skip, experimental: wanted } = this.#options;
    if (experimental ? !includes(wanted, rule) : includes(skip, rule)) return;
    this.#warnings.push({ rule, description, url: `${BASE_URL}${slug}/`, detail, ranges: eachLine(range) });
  }

  /** In order of their lines. */
  get warnings(): readonly LintWarning[] {
    return [...this.#warnings].sort(
      (a, b) => a.ranges[0]!.start.line - b.ranges[0]!.start.line || compareBytes(a.rule, b.rule),
    );
  }

  /** @throws Error if warnings are errors and there are some */
  finish(): void {
    if (!this.#options.error || this.#warnings.length === 0) return;
    const rules = new Set(this.#warnings.map(({ rule }) => rule));
    throw new Error(`lint violation found for rules: ${[...rules].join(", ")}`);
  }
}

function includes(names: "all" | ReadonlySet<string>, name: string): boolean {
  return names === "all" || names.has(name);
}
