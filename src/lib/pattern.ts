// File name patterns: Go's path.Match (wildcards of COPY) and the patterns of .dockerignore files with their "**" and
// "!" (moby/patternmatcher).

import { BuildError, wrapError } from "./errors.js";
import { ANY_IN_NAME, compileGlob, literal, type Step, type TextMatcher } from "./glob.js";

/** Go's path.Match: `*` and `?` stop at slashes, `[a-z]`, `[^a]`, backslash escapes. A malformed pattern is no match. */
export function compilePathPattern(pattern: string): TextMatcher | undefined {
  const steps: Step[] = [];
  const chars = [...pattern];
  for (let i = 0; i < chars.length; i++) {
    const c = chars[i]!;
    if (c === "*") steps.push({ kind: "many", inName: true });
    else if (c === "?") steps.push(ANY_IN_NAME);
    else if (c === "[") {
      const end = classEnd(chars, i + 1);
      const step = end < 0 ? undefined : characterClass(chars.slice(i + 1, end).join(""));
      if (!step) return undefined;
      steps.push(step);
      i = end;
    } else if (c === "\\") {
      const next = chars[++i];
      if (next === undefined) return undefined;
      steps.push(literal(next));
    } else steps.push(literal(c));
  }
  return compileGlob(steps);
}

/** What stands between brackets: characters and ranges, "^" first for all others. */
function characterClass(text: string): Step | undefined {
  const isNegated = text.startsWith("^");
  const ranges: [number, number][] = [];
  const chars = [...(isNegated ? text.slice(1) : text)];
  const next = (): number | undefined => {
    let c = chars.shift();
    if (c === "\\") c = chars.shift();
    return c?.codePointAt(0);
  };
  while (chars.length > 0) {
    const first = next();
    let last = first;
    if (chars[0] === "-" && chars.length > 1) {
      chars.shift();
      last = next();
    }
    if (first === undefined || last === undefined) return undefined;
    if (first <= last) ranges.push([first, last]);
  }
  const hex = (code: number): string => `\\u{${code.toString(16)}}`;
  const inner = ranges.map(([first, last]) => `${hex(first)}-${hex(last)}`).join("");
  const is = (c: string): boolean => {
    const code = c.codePointAt(0)!;
    return ranges.some(([first, last]) => first <= code && code <= last) !== isNegated;
  };
  return { kind: "one", source: `[${isNegated ? "^" : ""}${inner}]`, is };
}

function classEnd(chars: readonly string[], from: number): number {
  let i = chars[from] === "^" ? from + 1 : from;
  const first = i;
  for (; i < chars.length; i++) {
    if (chars[i] === "\\") i++;
    else if (chars[i] === "]" && i > first) return i;
  }
  return -1;
}

export function hasWildcards(path: string): boolean {
  for (let i = 0; i < path.length; i++) {
    if (path[i] === "\\") i++;
    else if (path[i] === "*" || path[i] === "?" || path[i] === "[") return true;
  }
  return false;
}

interface Pattern {
  readonly exclusion: boolean;
  readonly expression: TextMatcher;
}

/** What the parents of a path matched: one flag for each pattern. */
export type ParentMatches = readonly boolean[];

export class PatternMatcher {
  readonly #patterns: readonly Pattern[];

  /** @throws BuildError PATTERN_INVALID */
  constructor(patterns: readonly string[]) {
    this.#patterns = patterns
      .map((text) => text.trim())
      .filter((text) => text !== "")
      .map((text) => {
        if (text === "!") throw new BuildError("PATTERN_INVALID", 'illegal exclusion pattern: "!"');
        const exclusion = text.startsWith("!");
        const body = (exclusion ? text.slice(1) : text).replace(/\/+$/, "").replace(/^\.\//, "");
        if (!compilePathPattern(body)) throw new BuildError("PATTERN_INVALID", "syntax error in pattern");
        return { exclusion, expression: ignorePattern(body) };
      });
  }

  /**
   * @param what "includepatterns", "excludepatterns": which of two an error is about
   * @throws BuildError PATTERN_INVALID
   */
  static named(what: string, patterns: readonly string[]): PatternMatcher {
    try {
      return new PatternMatcher(patterns);
    } catch (error) {
      throw wrapError(error, "PATTERN_INVALID", `invalid ${what}: [${patterns.join(" ")}]`);
    }
  }

  get isEmpty(): boolean {
    return this.#patterns.length === 0;
  }

  /** there are "!" patterns: something below an excluded folder may be included again */
  get hasExclusions(): boolean {
    return this.#patterns.some((pattern) => pattern.exclusion);
  }

  /** Whether `path` (or one of its parents, whose result is handed in) matches; the last pattern that applies decides. */
  match(path: string, parent: ParentMatches | undefined): { matched: boolean; info: ParentMatches } {
    let matched = false;
    const info = this.#patterns.map(({ expression }, i) => (parent?.[i] ?? false) || expression.test(path));
    this.#patterns.forEach(({ exclusion }, i) => {
      if (info[i]) matched = !exclusion;
    });
    return { matched, info };
  }

  /** Whether `path` or a folder it lies in matches. */
  matchesWithParents(path: string): boolean {
    let result: { matched: boolean; info: ParentMatches } | undefined;
    for (let end = path.indexOf("/", 1); end >= 0; end = path.indexOf("/", end + 1))
      result = this.match(path.slice(0, end), result?.info);
    return this.match(path, result?.info).matched;
  }
}

/** A pattern of an ignore file: as path.Match, and "**" for any number of folders. */
function ignorePattern(pattern: string): TextMatcher {
  const steps: Step[] = [];
  const chars = [...pattern];
  for (let i = 0; i < chars.length; i++) {
    const c = chars[i]!;
    if (c === "*" && chars[i + 1] === "*") {
      i++;
      if (chars[i + 1] === "/") i++;
      steps.push(i + 1 >= chars.length ? { kind: "many", inName: false } : { kind: "folders" });
    } else if (c === "*") steps.push({ kind: "many", inName: true });
    else if (c === "?") steps.push(ANY_IN_NAME);
    else if (c === "[") {
      const end = classEnd(chars, i + 1);
      const step = end < 0 ? undefined : characterClass(chars.slice(i + 1, end).join(""));
      steps.push(step ?? literal(c));
      if (step) i = end;
    } else if (c === "\\") steps.push(literal(chars[++i] ?? c));
    else steps.push(literal(c));
  }
  return compileGlob(steps);
}
