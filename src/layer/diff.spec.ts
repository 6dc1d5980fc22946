import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { bytePath } from "../linux/index.js";
import { writeLayer } from "./diff.js";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "bluekiln-diff-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

let count = 0;
/** Names in the layer that makes `lower` `upper`. */
async function changed(lower: string, upper: string): Promise<string[]> {
  const file = join(folder, `layer-${++count}`);
  const paths = { lower: bytePath(lower), upper: bytePath(upper) };
  await writeLayer(
    file,
    { ...paths, compression: "uncompressed", level: undefined },
    new AbortController().signal,
  );
  return spawnSync("tar", ["-tf", file], { encoding: "utf8" }).stdout.split("\n").filter(Boolean);
}

/** @param time seconds since 1970, of each file */
function tree(files: Record<string, string>, time: number): string {
  const path = join(folder, `tree-${++count}`);
  mkdirSync(path);
  for (const [name, text] of Object.entries(files)) {
    writeFileSync(join(path, name), text);
    utimesSync(join(path, name), time, time);
  }
  return path;
}

it.each([
  ["in whole seconds", 1_700_000_000],
  ["in parts of them", 1_700_000_000.25],
])("has what differs in nothing but bytes, with times %s", async (_, time) => {
  const long = "x".repeat(600_000);
  const lower = tree({ same: "alpha", other: "alpha", long, longer: long, empty: "" }, time);
  const upper = tree({ same: "alpha", other: "omega", long, longer: `${long.slice(1)}y`, empty: "" }, time);
  expect(await changed(lower, upper)).toEqual(["longer", "other"]);
});

it("has files of other times, and links that lead elsewhere", async () => {
  const [lower, upper] = [tree({ a: "1" }, 1_700_000_000), tree({ a: "1" }, 1_700_000_001)];
  symlinkSync("a", join(lower, "link"));
  symlinkSync("b", join(upper, "link"));
  expect(await changed(lower, upper)).toEqual(["a", "link"]);
});
