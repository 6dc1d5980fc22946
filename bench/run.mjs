// Times the command: cold build, cached rebuild, cache export, rebuild from the cache alone, start-up, memory.
// Prints medians; bench/beside.mjs compares with another builder.
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { startDemoServices } from "../scripts/demo-services.mjs";

const { values } = parseArgs({
  options: { runs: { type: "string", default: "5" }, steps: { type: "string", default: "40" } },
});
const runs = Number(values.runs);
const command = join(import.meta.dirname, "..", "bin", "bluekiln.js");
const work = mkdtempSync(join(tmpdir(), "bluekiln-bench-"));
const services = await startDemoServices(work);
const cache = (name) =>
  `type=azblob,name=${name},account_url=${services.azure},account_name=devstoreaccount1,secret_access_key=${services.key}`;

const context = join(work, "context");
mkdirSync(context);
const lines = Array.from({ length: Number(values.steps) }, (_, i) => `RUN echo ${i} > /step-${i}`);
writeFileSync(join(context, "Dockerfile"), `FROM ${services.base}\n${lines.join("\n")}\n`);

let counter = 0;
const fresh = () => join(work, `state-${++counter}`);

/** @returns seconds and peak memory of the process in MiB */
function time(args) {
  const file = join(work, "time");
  const start = performance.now();
  const result = spawnSync(
    "bash",
    [
      "-c",
      `TIMEFORMAT=; exec "$@"`,
      "bash",
      process.execPath,
      "--import",
      join(import.meta.dirname, "peak.mjs"),
      command,
      ...args,
    ],
    {
      encoding: "utf8",
      env: { ...process.env, BENCH_PEAK_FILE: file },
    },
  );
  const seconds = (performance.now() - start) / 1000;
  if (result.status !== 0) throw new Error(result.stderr);
  return { seconds, peak: Number(readFileSync(file, "utf8")) / 1024 };
}

const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];

function measure(name, prepare, task) {
  const results = [];
  for (let i = 0; i < runs; i++) {
    const input = prepare();
    results.push(task(input));
  }
  const seconds = median(results.map((r) => r.seconds));
  const peak = Math.max(...results.map((r) => r.peak));
  console.log(
    `${name.padEnd(52)} ${seconds.toFixed(2).padStart(7)} s   peak ${peak.toFixed(0).padStart(4)} MiB`,
  );
}

try {
  const push = (state, extra = []) =>
    time([
      "build",
      "--quiet",
      "--push",
      "-t",
      `${services.registry}/bench:${counter}`,
      "--state-dir",
      state,
      ...extra,
      context,
    ]);
  measure(
    "start-up (version)",
    () => undefined,
    () => time(["version"]),
  );
  measure(`cold build of ${values.steps} steps, pushed`, fresh, (state) => push(state));
  const warm = fresh();
  push(warm);
  measure(
    "the same, cached locally, pushed",
    () => warm,
    (state) => push(state),
  );
  measure("cold build, pushed, cache exported (mode=max)", fresh, (state) =>
    push(state, ["--cache-to", `${cache(`bench-${counter}`)},mode=max`]),
  );
  push(fresh(), ["--cache-to", `${cache("bench")},mode=max`]);
  measure("rebuild from the cache on an empty state directory", fresh, (state) =>
    push(state, ["--cache-from", cache("bench")]),
  );
  const big = join(work, "big");
  mkdirSync(big);
  writeFileSync(
    join(big, "Dockerfile"),
    `FROM ${services.base}\nRUN dd if=/dev/urandom of=/big bs=1M count=256 2>/dev/null\n`,
  );
  measure("a layer of 256 MiB that does not compress, pushed", fresh, (state) =>
    time([
      "build",
      "--quiet",
      "--push",
      "-t",
      `${services.registry}/big:${counter}`,
      "--state-dir",
      state,
      big,
    ]),
  );
} finally {
  services.stop();
  rmSync(work, { recursive: true, force: true });
}
