import { setTimeout } from "node:timers/promises";
import { expect, it } from "vitest";
import { Limiter } from "../lib/index.js";
import type { Op } from "../solver/index.js";
import { BoundedOp } from "./bounded.js";

const { signal } = new AbortController();

function op(run: () => Promise<void>): Op<string> {
  return {
    cacheMaps: async () => [],
    run: async (inputs) => {
      await run();
      return inputs;
    },
  };
}

it("runs no more steps at once than there may be", async () => {
  const steps = new Limiter(2);
  let running = 0;
  let most = 0;
  const slow = op(async () => {
    most = Math.max(most, ++running);
    await setTimeout(5);
    running--;
  });
  const all = Array.from({ length: 7 }, (_, i) => new BoundedOp(slow, steps).run([String(i)], signal));
  expect(await Promise.all(all)).toEqual(Array.from({ length: 7 }, (_, i) => [String(i)]));
  expect(most).toBe(2);
});

it("does not wait any longer when it is canceled, and never runs then", async () => {
  const steps = new Limiter(1);
  let finish = (): void => undefined;
  const first = new BoundedOp(
    op(() => new Promise((resolve) => (finish = resolve))),
    steps,
  ).run([], signal);
  const canceled = new AbortController();
  let ran = false;
  const second = new BoundedOp(
    op(async () => void (ran = true)),
    steps,
  ).run([], canceled.signal);
  canceled.abort(new Error("context canceled"));
  await expect(second).rejects.toThrow("context canceled");
  finish();
  await first;
  await new BoundedOp(
    op(async () => undefined),
    steps,
  ).run([], signal);
  expect(ran).toBe(false);
});
