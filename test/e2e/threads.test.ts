// Threads come and go: what waits for one that is gone would wait for ever.
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { afterAll, expect, it } from "vitest";
import { ROOT } from "../support/services.js";

const root = mkdtempSync(join(tmpdir(), "bluekiln-threads-"));
afterAll(() => rmSync(root, { recursive: true }));

type Engine = typeof import("../../src/worker/index.js");
const { Worker } = (await import(join(ROOT, "dist/worker/index.js"))) as Engine;
mkdirSync(join(root, "own"));

it("a thread with nothing to do ends, and another takes its place", async () => {
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

it("what a thread has mounted is shown to the process, as long as it is looked at", async () => {
  for (const [layer, file] of [
    ["lower", "a"],
    ["upper", "b"],
  ] as const) {
    mkdirSync(join(root, layer));
    writeFileSync(join(root, layer, file), file);
  }
  const worker = new Worker({ stateRoot: root, own: join(root, "own"), fileThreads: 1 });
  const tree = { kind: "layers", layers: ["lower", "upper"] } as const;
  const { signal } = new AbortController();
  let shown = "";
  const look = async (folder: string): Promise<string[]> => {
    shown = folder;
    return readdirSync(folder).sort();
  };
  expect(await worker.show(tree, look, signal)).toEqual(["a", "b"]);
  expect(readdirSync(shown)).toEqual([]);
  const failing = worker.show(tree, () => Promise.reject(new Error("the client has gone")), signal);
  await expect(failing).rejects.toThrow("the client has gone");
  await expect(worker.show({ kind: "layers", layers: ["none"] }, look, signal)).rejects.toThrow();
  await expect(worker.show(tree, look, AbortSignal.abort(new Error("canceled")))).rejects.toThrow("canceled");
  expect(await worker.show(tree, look, signal)).toEqual(["a", "b"]);
  await worker.close();
});

it("one that is not needed after all ends with the process, wherever it was", () => {
  const script = `
    const [, , module, stateRoot] = process.argv;
    const { Worker } = await import(module);
    const within = async (use) => {
      const worker = new Worker({ stateRoot, own: "own", fileThreads: 1 });
      worker.prepare();
      await use(worker);
      await worker.close();
    };
    const start = performance.now();
    await within((worker) => worker.perform("usage", { folders: ["."] }, AbortSignal.timeout(20_000)));
    const ready = performance.now() - start;
    for (let delay = ready / 2; delay < ready; delay += ready / 200)
      await within(async () => {
        const end = performance.now() + delay;
        while (performance.now() < end) await new Promise((resolve) => setImmediate(resolve));
      });
    process.exit(7);`;
  const file = join(root, "script.mjs");
  writeFileSync(file, script);
  const args = [file, join(ROOT, "dist/worker/index.js"), root];
  const { status, signal, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
  expect(stderr).toBe("");
  expect({ status, signal }).toEqual({ status: 7, signal: null });
});

function threads(): number {
  return readdirSync("/proc/self/task").length;
}
