// File name patterns: Go's path.Match (wildcards of COPY) and the patterns of .dockerignore files with their "**" and
// "!" (moby/patternmatcher).

/** Go's path.Match: `*` and `?` stop at slashes, `[a-z]`, `[^a]`, backslash escapes. A malformed pattern is no match. */
export function globToRegExp(pattern: string): RegExp | undefined {
  let source = "";
  const chars = [...pattern];
  for (let i = 0; i < chars.length; i++) {
    const c = chars[i]!;
    if (c === "*") source += "[^/]*";
    else if (c === "?") source += "[^/]";
    else if (c === "[") {
      const end = classEnd(chars, i + 1);
      if (end < 0) return undefined;
      let inner = chars.slice(i + 1, end).join("");
      const negate = inner.startsWith("^");
      if (negate) inner = inner.slice(1);
      source += `[${negate ? "^" : ""}${inner.replace(/[[\]&~^|]|\\(?![\]\\^-])/g, (x) => (x === "\\" ? "" : `\\${x}`))}]`;
      i = end;
    } else if (c === "\\") {
      const next = chars[++i];
      if (next === undefined) return undefined;
      source += quote(next);
    } else source += quote(c);
  }
  try {
    return new RegExp(`^${source}$`, "su");
  } catch {
    return undefined;
  }
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

function quote(c: string): string {
  return c.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&");
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
  readonly expression: RegExp;
}

/** What the parents of a path matched: one flag for each pattern. */
export type ParentMatches = readonly boolean[];

export class PatternMatcher {
  readonly #patterns: readonly Pattern[];

  constructor(patterns: readonly string[]) {
    this.#patterns = patterns
      .map((text) => text.trim())
      .filter((text) => text !== "")
      .map((text) => {
        const exclusion = text.startsWith("!");
        const body = (exclusion ? text.slice(1) : text).replace(/\/+$/, "").replace(/^\.\//, "");
        return { exclusion, expression: ignorePattern(body) };
      });
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
function ignorePattern(pattern: string): RegExp {
  let source = "^";
  const chars = [...pattern];
  for (let i = 0; i < chars.length; i++) {
    const c = chars[i]!;
    if (c === "*" && chars[i + 1] === "*") {
      i++;
      if (chars[i + 1] === "/") i++;
      if (i + 1 >= chars.length) source += ".*";
      else source += "(.*/)?";
    } else if (c === "*") source += "[^/]*";
    else if (c === "?") source += "[^/]";
    else if (c === "[") {
      const end = classEnd(chars, i + 1);
      if (end < 0) source += "\\[";
      else {
        source += chars.slice(i, end + 1).join("");
        i = end;
      }
    } else if (c === "\\") {
      const next = chars[++i];
      source += next === undefined ? "\\\\" : quote(next);
    } else source += quote(c);
  }
  try {
    return new RegExp(`${source}$`, "s");
  } catch {
    return new RegExp(`^${quote(pattern)}$`);
  }
}
