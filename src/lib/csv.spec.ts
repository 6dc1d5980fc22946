import { describe, expect, it } from "vitest";
import { parseCsv } from "./csv.js";

describe("parseCsv", () => {
  it.each([
    ["a,b", ["a", "b"]],
    ["", [""]],
    ["a,", ["a", ""]],
    ['"a,b",c', ["a,b", "c"]],
    ['"say ""hi"""', ['say "hi"']],
  ])("reads %s", (line, fields) => {
    expect(parseCsv(line)).toEqual(fields);
  });

  it.each(['a"b', '"a', '"a"b'])("refuses %s", (line) => {
    expect(() => parseCsv(line)).toThrow(/parse error on line 1/);
  });
});
