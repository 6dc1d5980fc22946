import { describe, expect, it } from "vitest";
import { globToRegExp, PatternMatcher } from "./pattern.js";

describe("globToRegExp", () => {
  it.each([
    ["*.txt", "a.txt", true],
    ["*.txt", "d/a.txt", false],
    ["?.md", "a.md", true],
    ["[ab].*", "b.js", true],
    ["[^ab].*", "b.js", false],
    ["arr[[]0].dat", "arr[0].dat", true],
    ["a\\*", "a*", true],
    ["a\\*", "ab", false],
  ])("%s and %s: %s", (pattern, name, matches) => {
    expect(globToRegExp(pattern)!.test(name)).toBe(matches);
  });

  it("makes nothing of a malformed pattern", () => {
    expect(globToRegExp("[a")).toBeUndefined();
  });
});

describe("PatternMatcher", () => {
  const match = (patterns: string[], path: string): boolean => {
    const matcher = new PatternMatcher(patterns);
    let info: readonly boolean[] | undefined;
    let matched = false;
    const parts = path.split("/");
    for (let i = 1; i <= parts.length; i++)
      ({ matched, info } = matcher.match(parts.slice(0, i).join("/"), info));
    return matched;
  };

  it.each([
    [["**/modules"], "a/b/modules", true],
    [["**/modules"], "modules/x", true],
    [["d"], "d/a/b", true],
    [["*", "!keep"], "keep", false],
    [["d", "!d/keep"], "d/keep", false],
    [["d", "!d/keep"], "d/other", true],
    [["**"], "a/b", true],
    [["a/**/c"], "a/c", true],
    [["a/**/c"], "a/x/y/c", true],
    [[".git*"], ".gitignore", true],
  ])("%j and %s: %s", (patterns, path, matched) => {
    expect(match(patterns, path)).toBe(matched);
  });
});
