import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["src/**/*.spec.ts", "test/**/*.test.ts"],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // each file starts registries, Azurites and containers of its own: more at once only wait for each other
    maxWorkers: 2,
  },
});
