import { describe, expect, it } from "vitest";
import { freeMemory } from "./free-memory.js";

describe("freeMemory", () => {
  it("gives a large buffer's memory back at once", () => {
    const before = process.memoryUsage().arrayBuffers;
    for (let i = 0; i < 1000; i++) {
      const buffer = Buffer.alloc(1 << 20, 1);
      freeMemory(buffer.subarray(10, 20));
      expect(buffer.length).toBe(0);
    }
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(10 << 20);
  });

  it("leaves those that share memory with others", () => {
    const buffers = Array.from({ length: 10 }, (_, i) => Buffer.from(`small ${i}`));
    freeMemory(buffers[0]!);
    expect(buffers.map(String)).toEqual(Array.from({ length: 10 }, (_, i) => `small ${i}`));
  });
});
