import { expect, it } from "vitest";
import { SharedWork } from "./shared-work.js";

it("is done once for all that want it", async () => {
  const shared = new SharedWork<string, number>();
  const { signal } = new AbortController();
  let count = 0;
  const work = async (): Promise<number> => {
    await new Promise((resolve) => setTimeout(resolve, 10));
    return ++count;
  };
  expect(await Promise.all([1, 2, 3].map(() => shared.run("a", signal, work)))).toEqual([1, 1, 1]);
  expect(await shared.run("a", signal, work)).toBe(2);
});

it("goes on for the others when who began it gives up, and fails for all when it fails", async () => {
  const shared = new SharedWork<string, string>();
  const [first, second] = [new AbortController(), new AbortController()];
  const began = shared.run(
    "a",
    first.signal,
    () =>
      new Promise((_, reject) => first.signal.addEventListener("abort", () => reject(new Error("canceled")))),
  );
  const other = shared.run("a", second.signal, async () => "done again");
  first.abort();
  await expect(began).rejects.toThrow("canceled");
  expect(await other).toBe("done again");
  const fails = async (): Promise<string> => {
    await Promise.resolve();
    throw new Error("broken");
  };
  const both = await Promise.allSettled([1, 2].map(() => shared.run("b", second.signal, fails)));
  expect(both.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
});
