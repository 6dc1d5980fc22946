import { describe, expect, it } from "vitest";
import type { FrontendRequest } from "../types.js";
import { parseDockerfile } from "./parser/index.js";
import { checkSyntax } from "./syntax.js";

function check(syntax: string, buildArgs: Record<string, string> = {}): void {
  const dockerfile = parseDockerfile(Buffer.from(`# syntax=${syntax}\nFROM scratch\n`));
  checkSyntax({ buildArgs } as unknown as FrontendRequest, dockerfile);
}

describe("checkSyntax", () => {
  it.each([
    "docker/dockerfile",
    "docker/dockerfile:1",
    "docker.io/docker/dockerfile:1.4-labs",
    "docker/dockerfile:labs",
    "docker/dockerfile-upstream:master-labs",
    "docker/dockerfile:1.7.0@sha256:" + "a".repeat(64),
    "docker/dockerfile:1 with words behind it",
  ])("serves %s", (syntax) => expect(() => check(syntax)).not.toThrow());

  it.each([
    ["docker/dockerfile:1.999", "is newer than the Dockerfile language known here"],
    ["docker/dockerfile:2", "is newer than"],
    ["example.com/docker/dockerfile:1", "is not supported"],
    ["r2d4/mockerfile", "is not supported"],
    ["docker/Dockerfile", "failed to parse frontend image"],
  ])("refuses %s", (syntax, message) => {
    expect(() => check(syntax)).toThrow(message);
    expect(() => check(syntax, { BUILDKIT_SYNTAX: "docker/dockerfile:1" })).not.toThrow();
  });
});
