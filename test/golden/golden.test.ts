// The recordings that pass may never fail again.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";

const passing = JSON.parse(readFileSync(join(import.meta.dirname, "passing.json"), "utf8")) as Record<
  string,
  string[]
>;
const kinds = Object.keys(passing).filter((kind) => passing[kind]!.length > 0);
let report: Record<string, { failed: string[] }> = {};
let text = "";

beforeAll(() => {
  const run = spawnSync(
    process.execPath,
    [join(import.meta.dirname, "run.mjs"), "--json", "--kind", kinds.join(",")],
    {
      encoding: "utf8",
      maxBuffer: 1 << 28,
    },
  );
  text = run.stdout;
  report = JSON.parse(text.trim().split("\n").pop()!) as typeof report;
}, 600_000);

describe.each(kinds)("%s", (kind) => {
  it.each(passing[kind]!)("%s", (id) => {
    const difference =
      new RegExp(`^${kind}: [^]*?^  ${id}: ([^]*?)^(?:  \\S|\\S)`, "m").exec(text)?.[1] ?? "";
    expect(report[kind]!.failed.includes(id) ? `differs: ${difference}` : "same").toBe("same");
  });
});
