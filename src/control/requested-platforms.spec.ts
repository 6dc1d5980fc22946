import { expect, it } from "vitest";
import { parsePlatform } from "../frontend/index.js";
import { platformWarnings } from "./requested-platforms.js";

// answers of dockerd 28.5
it.each([
  ["linux/amd64", ["linux/amd64"], false, []],
  ["linux/x86_64", ["linux/amd64"], false, []],
  ["linux/arm/v7", ["linux/arm"], false, []],
  [
    "linux/arm64",
    ["linux/amd64"],
    true,
    ['Requested platform "linux/arm64" does not match result platform "linux/amd64"'],
  ],
  [
    "linux/amd64,linux/arm64",
    ["linux/amd64"],
    false,
    ["Multiple platforms requested but result is not multi-platform"],
  ],
  [
    "linux/arm64,linux/amd64",
    ["linux/amd64"],
    true,
    ["Requested platforms linux/amd64,linux/arm64 do not match result platforms linux/amd64"],
  ],
  [
    "linux/arm64",
    ["linux/amd64", "linux/arm64"],
    true,
    ["Requested platforms linux/arm64 do not match result platforms linux/amd64,linux/arm64"],
  ],
  ["linux/amd64,linux/arm64", ["linux/arm64", "linux/amd64"], true, []],
  ["linux/arm64,linux/arm64", ["linux/arm64"], true, ['Duplicate platform result requested "linux/arm64"']],
  [
    "linux/arm64,bogus",
    ["linux/arm64"],
    true,
    [
      'Invalid platform result requested "bogus": "bogus": unknown operating system or architecture: invalid argument',
    ],
  ],
])("%s, and %j came", (requested, results, isMulti, warnings) => {
  expect(platformWarnings(requested, results.map(parsePlatform), isMulti)).toEqual(warnings);
});
