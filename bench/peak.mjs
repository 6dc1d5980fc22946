// Writes the process's peak memory (KiB) where the benchmark reads it.
import { readFileSync, writeFileSync } from "node:fs";

process.on("exit", () => {
  const peak = /VmHWM:\s*(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1];
  writeFileSync(process.env.BENCH_PEAK_FILE, peak);
});
