import { describe, expect, it } from "vitest";
import { Limiter } from "./limiter.js";

describe("Limiter", () => {
  it("never runs more tasks than its size, and all of them, whether they fail or not", async () => {
    const limiter = new Limiter(3);
    let running = 0;
    let peak = 0;
    const results = await Promise.allSettled(
      Array.from({ length: 20 }, (_, i) =>
        limiter.run(async () => {
          peak = Math.max(peak, ++running);
          await new Promise((resolve) => setTimeout(resolve, i % 3));
          running--;
          if (i % 4 === 0) throw new Error("no");
          return i;
        }),
      ),
    );
    expect(peak).toBe(3);
    expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(15);
    expect(limiter.active).toBe(0);
  });
});
