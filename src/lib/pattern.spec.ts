import { describe, expect, it } from "vitest";
import { compilePathPattern, PatternMatcher } from "./pattern.js";

describe("compilePathPattern", () => {
  it.each([
    ["*.txt", "a.txt", true],
    ["*.txt", "d/a.txt", false],
    ["?.md", "a.md", true],
    ["[ab].*", "b.js", true],
    ["[^ab].*", "b.js", false],
    ["arr[[]0].dat", "arr[0].dat", true],
    ["a\\*", "a*", true],
    ["a\\*", "ab", false],
    ["my-*.txt", "my-a.txt", true],
    ["[a&b-]x", "&x", true],
    ["[a-c]", "b", true],
    ["[a-c]", "-", false],
    ["[\\]]", "]", true],
    ["*a*b*c*", "xaybzc", true],
    ["*a*b*c*", "xaybz", false],
    ["ä?", "äö", true],
    ["*", "a\nb", true],
  ])("%s and %s: %s", (pattern, name, matches) => {
    expect(compilePathPattern(pattern)!.test(name)).toBe(matches);
  });

  it("makes nothing of a malformed pattern", () => {
    expect(compilePathPattern("[a")).toBeUndefined();
  });
});

describe("patterns with many wildcards", () => {
  const star = "*a".repeat(30);
  it.each([
    [`${star}b`, "a".repeat(250)],
    ["[^x]*".repeat(30) + "b", "a".repeat(250)],
  ])("%s is quick to fail", (pattern, name) => {
    const start = performance.now();
    expect(compilePathPattern(pattern)!.test(name)).toBe(false);
    expect(
      new PatternMatcher([pattern, "**/".repeat(30) + "b"]).match(`${"d/".repeat(500)}a`, undefined).matched,
    ).toBe(false);
    expect(performance.now() - start).toBeLessThan(2000);
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
    [["**/*.log", "!**/keep/**"], "a/b/x.log", true],
    [["a/**/b/**/c/*"], "a/1/b/2/3/c/d", true],
    [["a/**/b/**/c/*"], "a/1/b/2/3/d", false],
  ])("%j and %s: %s", (patterns, path, matched) => {
    expect(match(patterns, path)).toBe(matched);
  });
});
