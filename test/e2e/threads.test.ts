// Threads come and go: what waits for one that is gone would wait for ever.
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { afterAll, expect, it } from "vitest";
import { ROOT } from "../support/services.js";

const root = mkdtempSync(join(tmpdir(), "bluekiln-threads-"));
afterAll(() => rmSync(root, { recursive: true }));

it("a thread with nothing to do ends, and another takes its place", async () => {
  const { Worker } = (await import(
    join(ROOT, "dist/worker/index.js")
  )) as typeof import("../../src/worker/index.js");
  mkdirSync(join(root, "own"));
  mkdirSync(join(root, "tree"));
  writeFileSync(join(root, "tree", "f"), "");
  const worker = new Worker({ stateRoot: root, own: "own", fileThreads: 2, idleTimeout: 100 });
  const before = threads();
  const list = async (): Promise<string[]> => {
    const tree = { kind: "folder", path: join(root, "tree") } as const;
    const entries = await worker.perform(
      "list",
      { tree, path: "/", kind: "folder" },
      AbortSignal.timeout(20_000),
    );
    return entries.map(({ name }) => name);
  };
  expect(await Promise.all([list(), list(), list()])).toEqual([["f"], ["f"], ["f"]]);
  expect(threads()).toBeGreaterThan(before);
  for (let tries = 0; threads() > before && tries < 100; tries++) await setTimeout(50);
  expect(threads()).toBe(before);
  expect(await list()).toEqual(["f"]);
  await worker.close();
});

function threads(): number {
  return readdirSync("/proc/self/task").length;
}
