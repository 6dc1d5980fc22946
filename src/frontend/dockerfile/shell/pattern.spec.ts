import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { replacePattern, trimPrefix, trimSuffix } from "./pattern.js";

describe("replacePattern", () => {
  it.each([
    ["ba", "foobarbaz", "X", false, "fooXrbaz"],
    ["ba", "foobarbaz", "X", true, "fooXrXz"],
    ["b*", "foobarbaz", "X", false, "fooX"],
    ["?", "abc", "X", true, "XXX"],
    ["", "ab", "-", true, "-a-b-"],
    ["a*", "baab", "X", true, "bX"],
    ["\\*", "a*b", "$1", true, "a$1b"],
    ["a*z", "aaa", "X", true, "aaa"],
  ])("%s in %s by %s (all: %s) is %s", (pattern, value, text, all, result) => {
    expect(replacePattern(pattern, value, text, all)).toBe(result);
  });

  it("is quick for values that nearly match everywhere", () => {
    const start = performance.now();
    expect(replacePattern("a*b*c*d", "a".repeat(200_000), "X", true)).toHaveLength(200_000);
    expect(performance.now() - start).toBeLessThan(5000);
  });
});

describe("trimPrefix and trimSuffix", () => {
  it("remove the shortest and the longest match, and nothing else", () => {
    const letters = fc.string({ unit: fc.constantFrom("a", "b", "/"), maxLength: 8 });
    const patterns = fc.string({ unit: fc.constantFrom("a", "b", "/", "*", "?"), maxLength: 5 });
    fc.assert(
      fc.property(patterns, letters, fc.boolean(), (pattern, value, greedy) => {
        const whole = new RegExp(`^${pattern.replaceAll("*", ".*").replaceAll("?", ".")}$`, "s");
        const lengths = Array.from({ length: value.length + 1 }, (_, i) => i);
        if (!greedy) lengths.reverse();
        let [prefix, suffix] = [value, value];
        for (const n of lengths) {
          if (whole.test(value.slice(0, n))) prefix = value.slice(n);
          if (whole.test(value.slice(value.length - n))) suffix = value.slice(0, value.length - n);
        }
        expect(trimPrefix(pattern, value, greedy)).toBe(prefix);
        expect(trimSuffix(pattern, value, greedy)).toBe(suffix);
      }),
      { numRuns: 2000 },
    );
  });
});
