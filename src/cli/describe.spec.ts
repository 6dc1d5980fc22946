// The tables as buildx prints them (seen with buildx 0.13 and BuildKit's --print).
import { describe as suite, expect, it } from "vitest";
import type { Description } from "../frontend/index.js";
import { describe, parseCall } from "./describe.js";

const source = {
  filename: "Dockerfile",
  data: Buffer.from("FROM scratch\n"),
  definition: undefined,
  language: "",
};
const range = { start: { line: 1, character: 0 }, end: { line: 1, character: 0 } };
const text = (description: unknown): string =>
  describe({ source, ...(description as object) } as unknown as Description, parseCall("outline")!).out;

suite("describe", () => {
  it("lists targets", () => {
    const target = { base: "scratch", platform: "", range };
    const targets = [
      { ...target, name: "base", description: "", isDefault: false },
      { ...target, name: "longer-name", description: "", isDefault: false },
      { ...target, name: "z", description: "is last", isDefault: true },
    ];
    expect(text({ kind: "targets", targets })).toBe(
      "TARGET      DESCRIPTION\nbase        \nlonger-name \nz (default) is last\n",
    );
  });

  it("shows what can be set", () => {
    const outline = {
      name: "release",
      description: "is what is shipped",
      args: [
        { name: "VERSION", value: "1.2", description: "is the version to build", range },
        { name: "OTHER", value: "x", description: "", range },
      ],
      secrets: [{ name: "tok", isRequired: true, range }],
      agents: [{ name: "default", isRequired: false, range }],
    };
    expect(text({ kind: "outline", outline })).toBe(
      "TARGET:      release\nDESCRIPTION: is what is shipped\n\n" +
        "BUILD ARG   VALUE   DESCRIPTION\nVERSION     1.2     is the version to build\nOTHER       x       \n\n" +
        "SECRET   REQUIRED\ntok      true\n\nSSH       REQUIRED\ndefault   \n\n",
    );
  });
});

suite("parseCall", () => {
  it("takes what buildx takes", () => {
    expect(parseCall("")).toBeUndefined();
    expect(parseCall("build")).toBeUndefined();
    expect(parseCall("lint,format=json")).toEqual({ call: "check", format: "json", ignoreStatus: false });
    expect(parseCall("check,ignorestatus=true")).toMatchObject({ ignoreStatus: true });
    expect(() => parseCall("what")).toThrow('"what" is none of build, check, outline, targets');
    expect(() => parseCall("check,format=xml")).toThrow('unknown format "xml"');
  });
});
