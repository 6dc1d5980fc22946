import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { expandWord, splitWords } from "./expand.js";

const values: Record<string, string> = { A: "value", EMPTY: "", P: "a/b/c.tar.gz" };
const expand = (word: string): string => expandWord(word, (name) => values[name], { escape: "\\" }).text;

describe("expandWord", () => {
  it.each([
    ["$A", "value"],
    ["${A}x", "valuex"],
    ["$NONE", ""],
    ["'$A'", "$A"],
    ['"$A"', "value"],
    ["\\$A", "$A"],
    ["${NONE:-def}", "def"],
    ["${EMPTY:-def}", "def"],
    ["${EMPTY-def}", ""],
    ["${A:+yes}", "yes"],
    ["${EMPTY:+yes}", ""],
    ["${P#*/}", "b/c.tar.gz"],
    ["${P##*/}", "c.tar.gz"],
    ["${P%.*}", "a/b/c.tar"],
    ["${P%%.*}", "a/b/c"],
    ["${P/\\//-}", "a-b/c.tar.gz"],
    ["${P//\\//-}", "a-b-c.tar.gz"],
  ])("%s is %s", (word, text) => {
    expect(expand(word)).toBe(text);
  });

  it.each([
    ["${A", "unsupported modifier"],
    ["${NONE:?gone}", "NONE: gone"],
    ["${}", "bad substitution"],
    ["'open", "looking for matching single-quote"],
  ])("refuses %s", (word, message) => {
    expect(() => expand(word)).toThrow(message);
  });

  it("splits at blanks of values, but not at quoted ones", () => {
    const get = (): string => "a b";
    expect(splitWords('$X "$X" c', get, { escape: "\\" })).toEqual(["a", "b", "a b", "c"]);
  });

  it("ends with a text or an error, whatever it is given", () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(..."${}:-+?#%/*'\"\\aA1 _\u00e9") }), (word) => {
        try {
          expect(typeof expand(word)).toBe("string");
        } catch (error) {
          expect((error as Error).message).toMatch(/^failed to process/);
        }
      }),
      { numRuns: 3000 },
    );
  });
});
