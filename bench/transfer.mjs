// Times the cache's transfers through azproxy against Azurite:
//   npm run bench:transfer -- [--runs 3] [--large 538] [--huge 4096] [--only small,large]
// Prints medians, requests and peak memory: up is the export's own step, down is fetching all layers.
import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { startDemoServices } from "../scripts/demo-services.mjs";
import { startProxy } from "./proxy.mjs";
import { stepTime } from "./step-time.mjs";

const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "3" },
    large: { type: "string", default: "538" },
    huge: { type: "string", default: "0" },
    only: { type: "string", default: "" },
  },
});
const runs = Number(values.runs);
const work = mkdtempSync(join(tmpdir(), "bluekiln-transfer-"));
const services = await startDemoServices(work);
const proxy = await startProxy(new URL(services.azure).host);
const command = join(import.meta.dirname, "..", "bin", "bluekiln.js");
const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];

let counter = 0;
const fresh = (name) => join(work, `${name}-${++counter}`);
const extra = process.env.BENCH_EXTRA ?? "";
const cache = (name) =>
  `type=azblob,name=cache,container=${name},account_url=http://${proxy.address}/devstoreaccount1,account_name=devstoreaccount1,secret_access_key=${services.key}${extra}`;

/** @returns seconds of a step (of the whole command if there is none), and peak memory in MiB */
function bluekiln(step, args) {
  const file = join(work, "peak");
  const start = performance.now();
  const run = spawnSync(
    process.execPath,
    ["--import", join(import.meta.dirname, "peak.mjs"), command, "build", "--progress=rawjson", ...args],
    { encoding: "utf8", env: { ...process.env, BENCH_PEAK_FILE: file }, maxBuffer: 1 << 28 },
  );
  const whole = (performance.now() - start) / 1000;
  if (run.status !== 0) throw new Error(run.stderr.slice(-2000));
  const peak = Number(readFileSync(file, "utf8")) / 1024;
  return { own: stepTime(run.stderr, step) ?? whole, peak };
}

/** Downloads the layers alone. @returns seconds and peak memory in MiB */
function fetchLayers(from, folder) {
  const file = join(work, "peak");
  const run = spawnSync(
    process.execPath,
    ["--import", join(import.meta.dirname, "peak.mjs"), join(import.meta.dirname, "fetch.mjs"), from, folder],
    { encoding: "utf8", env: { ...process.env, BENCH_PEAK_FILE: file } },
  );
  if (run.status !== 0) throw new Error(run.stderr.slice(-2000));
  return { seconds: Number(run.stdout), peak: Number(readFileSync(file, "utf8")) / 1024 };
}

function context(layers, bytes) {
  const folder = fresh("context");
  mkdirSync(folder);
  const size = Math.ceil(bytes / layers);
  const lines = Array.from({ length: layers }, (_, i) => {
    writeFileSync(join(folder, `f${i}`), "");
    for (let left = size; left > 0; left -= 64 << 20)
      appendFileSync(join(folder, `f${i}`), randomBytes(Math.min(left, 64 << 20)));
    return `COPY f${i} /`;
  });
  writeFileSync(join(folder, "Dockerfile"), `FROM scratch\n${lines.join("\n")}\n`);
  return folder;
}

async function measure(title, settings, folder) {
  const results = { up: [], down: [], peakUp: 0, peakDown: 0, upRequests: 0, downRequests: 0 };
  const state = fresh("state");
  bluekiln("", ["--state-dir", state, "--output", `type=oci,dest=${join(work, "out.tar")}`, folder]);
  for (let run = 0; run < runs; run++) {
    const name = `bench${++counter}`;
    await proxy.configure({ rttMs: 0, mbps: 0 });
    bluekiln("", ["--state-dir", fresh("state"), "--cache-to", cache(name), context(1, 10)]);
    await proxy.configure(settings);
    await proxy.reset();
    const up = bluekiln("exporting cache", [
      "--state-dir",
      state,
      "--cache-to",
      `${cache(name)},mode=max`,
      folder,
    ]);
    results.upRequests = (await proxy.reset()).requests;
    const target = fresh("store");
    const down = fetchLayers(cache(name), target);
    results.downRequests = (await proxy.reset()).requests;
    results.up.push(up.own);
    results.down.push(down.seconds);
    results.peakUp = Math.max(results.peakUp, up.peak);
    results.peakDown = Math.max(results.peakDown, down.peak);
    rmSync(target, { recursive: true, force: true });
  }
  console.log(
    `${title.padEnd(42)} up ${median(results.up).toFixed(2).padStart(6)} s ${String(results.upRequests).padStart(4)} requests ${results.peakUp.toFixed(0).padStart(4)} MiB` +
      `   down ${median(results.down).toFixed(2).padStart(6)} s ${String(results.downRequests).padStart(4)} requests ${results.peakDown.toFixed(0).padStart(4)} MiB`,
  );
}

try {
  const wanted = (name) => values.only === "" || values.only.split(",").includes(name);
  if (wanted("small")) {
    const small = context(41, 41 * 2000);
    await measure("41 small layers, 10 ms", { rttMs: 10, mbps: 0 }, small);
    await measure("41 small layers, 40 ms", { rttMs: 40, mbps: 0 }, small);
  }
  if (wanted("large")) {
    const large = context(9, Number(values.large) * 1e6);
    await measure(`${values.large} MB in 9, 10 ms, 200 Mbit/s each`, { rttMs: 10, mbps: 200 }, large);
    await measure(`${values.large} MB in 9, loopback`, { rttMs: 0, mbps: 0 }, large);
  }
  if (Number(values.huge) > 0)
    await measure(
      `one layer of ${values.huge} MB, loopback`,
      { rttMs: 0, mbps: 0 },
      context(1, Number(values.huge) * 1e6),
    );
} finally {
  proxy.stop();
  services.stop();
  rmSync(work, { recursive: true, force: true });
}
