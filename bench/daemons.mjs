// Times the cache's transfers of two daemons beside each other, ours and a buildkitd, both driven by one buildctl
// through azproxy against Azurite:
//   npm run bench:daemons -- --buildkitd PATH --buildctl PATH [--runs 3] [--large 538] [--only small,large,text,loop]
// Up is the export's own step; down is a whole build on an empty daemon: small layers into an OCI archive, large ones
// with a step on top. Prints medians of time, processor time of the daemon, requests, and its highest peak of memory.
import { spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { parseArgs } from "node:util";
import { startDemoServices } from "../scripts/demo-services.mjs";
import { startProxy } from "./proxy.mjs";
import { stepTime } from "./step-time.mjs";

const { values } = parseArgs({
  options: {
    buildkitd: { type: "string" },
    buildctl: { type: "string", default: "buildctl" },
    runs: { type: "string", default: "3" },
    large: { type: "string", default: "538" },
    only: { type: "string", default: "" },
    ours: { type: "boolean" },
    verbose: { type: "boolean" },
  },
});
if (!values.buildkitd && !values.ours)
  throw new Error("give the other daemon: --buildkitd PATH (or --ours alone)");

const runs = Number(values.runs);
const work = mkdtempSync(join(tmpdir(), "bluekiln-daemons-"));
const services = await startDemoServices(work);
const proxy = await startProxy(new URL(services.azure).host);
const commands = {
  ours: [process.execPath, join(import.meta.dirname, "..", "bin", "bluekilnd.js")],
  ...(!values.ours && { theirs: [values.buildkitd, "--oci-worker-gc=false"] }),
};
const names = Object.keys(commands);
const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];
/** Clock ticks a second, in /proc/PID/stat. */
const TICKS = 100;

let counter = 0;
const fresh = (name) => join(work, `${name}-${++counter}`);
const cache = (name) =>
  `type=azblob,name=cache,container=${name},account_url=http://${proxy.address}/devstoreaccount1,account_name=devstoreaccount1,secret_access_key=${services.key}`;

class Daemon {
  #root = fresh("root");
  #child;

  /** @param command without its folder and address */
  constructor([command, ...args]) {
    mkdirSync(this.#root);
    const address = ["--root", this.#root, "--addr", this.address];
    this.#child = spawn(command, [...args, ...address], { stdio: ["ignore", "ignore", "ignore"] });
  }

  get address() {
    return `unix://${this.#root}/socket`;
  }

  async ready() {
    for (let tries = 0; tries < 200; tries++) {
      if (existsSync(join(this.#root, "socket")) && this.#ctl(["debug", "workers"]).status === 0) return this;
      await setTimeout(50);
    }
    throw new Error("the daemon does not start");
  }

  /** @returns seconds of a step and of everything, processor seconds, peak memory in MiB */
  build(step, folder, args) {
    writeFileSync(`/proc/${this.#child.pid}/clear_refs`, "5");
    const [before, start] = [this.#processorTime(), performance.now()];
    const folders = ["--local", `context=${folder}`, "--local", `dockerfile=${folder}`];
    const build = ["build", "--frontend", "dockerfile.v0", "--progress=rawjson", ...folders, ...args];
    const run = this.#ctl(build);
    const whole = (performance.now() - start) / 1000;
    if (run.status !== 0) throw new Error(run.stderr.slice(-2000));
    const own = stepTime(run.stderr, step);
    const status = readFileSync(`/proc/${this.#child.pid}/status`, "utf8");
    const peak = Number(/VmHWM:\s*(\d+)/.exec(status)[1]) / 1024;
    return { own, whole, processor: this.#processorTime() - before, peak };
  }

  async stop() {
    const ended = new Promise((resolve) => this.#child.on("exit", resolve));
    this.#child.kill("SIGTERM");
    await ended;
    rmSync(this.#root, { recursive: true, force: true });
  }

  #ctl(args) {
    const options = { encoding: "utf8", maxBuffer: 1 << 28 };
    return spawnSync(values.buildctl, ["--addr", this.address, ...args], options);
  }

  #processorTime() {
    const fields = readFileSync(`/proc/${this.#child.pid}/stat`, "utf8").split(") ")[1].split(" ");
    return [11, 12, 13, 14].reduce((sum, at) => sum + Number(fields[at]), 0) / TICKS;
  }
}

/** A folder with a Dockerfile of so many layers, and another with a step on top. */
function folder(first, line, layers) {
  const path = fresh("context");
  mkdirSync(path);
  const lines = [first, ...Array.from({ length: layers }, (_, i) => line(i))].join("\n");
  writeFileSync(join(path, "Dockerfile"), `${lines}\n`);
  writeFileSync(join(path, "Dockerfile.top"), `${lines}\nCOPY Dockerfile.top /\n`);
  return path;
}

/** Layers of files in the context. */
function copied(layers, bytes) {
  const path = folder("FROM scratch", (i) => `COPY f${i} /`, layers);
  for (let i = 0; i < layers; i++) writeFileSync(join(path, `f${i}`), randomBytes(bytes));
  return path;
}

/** Layers of steps, so that no context is part of what is measured. @param filter what their noise goes through */
function made(layers, bytes, filter = "cat") {
  const line = (i) => `RUN head -c ${bytes} /dev/urandom | ${filter} > /f${i}`;
  return folder(`FROM ${services.base}`, line, layers);
}

const archive = (file) => ["--output", `type=oci,dest=${file}`];
const alternate = (list, run) => (run % 2 === 0 ? list : [...list].reverse());

/** @param measure one run of one daemon, which gives what `build` does and the requests */
async function compare(title, measure) {
  const all = Object.fromEntries(names.map((name) => [name, []]));
  for (let run = 0; run < runs; run++)
    for (const name of alternate(names, run)) all[name].push(await measure(name, run));
  if (values.verbose) console.log(JSON.stringify(all));
  const shown = names.map((name) => {
    const of = (key) => median(all[name].map((result) => result[key]));
    const peak = Math.max(...all[name].map((result) => result.peak));
    return (
      `${name} ${of("time").toFixed(2).padStart(6)} s ${of("processor").toFixed(2).padStart(5)} s cpu ` +
      `${String(of("requests")).padStart(4)} requests ${peak.toFixed(0).padStart(4)} MiB`
    );
  });
  const ratio = (key) => median(all.theirs.map((r) => r[key])) / median(all.ours.map((r) => r[key]));
  const ratios = all.theirs
    ? `   ${ratio("time").toFixed(2)}x, cpu ${(1 / ratio("processor")).toFixed(2)}`
    : "";
  console.log(`${title.padEnd(40)} ${shown.join("   ")}${ratios}`);
}

/** @param top a step that needs all layers unpacked is built on them; else they go into an archive */
async function measure(title, settings, folder, top) {
  const daemons = {};
  for (const name of names) {
    daemons[name] = await new Daemon(commands[name]).ready();
    daemons[name].build("", folder, archive("/dev/null"));
  }
  const containers = [];
  await compare(`${title}, up`, async (name) => {
    const container = `bench${++counter}`;
    await proxy.configure({ rttMs: 0, mbps: 0 });
    // a container that is there, with another cache in it
    daemons[name].build("", copied(1, 10), ["--export-cache", cache(container)]);
    await proxy.configure(settings);
    await proxy.reset();
    const target = ["--export-cache", `${cache(container)},mode=max`];
    const { own, ...result } = daemons[name].build("exporting cache", folder, target);
    containers.push(container);
    return { ...result, time: own, requests: (await proxy.reset()).requests };
  });
  for (const daemon of Object.values(daemons)) await daemon.stop();
  await compare(`${title}, down`, async (name) => {
    const daemon = await new Daemon(commands[name]).ready();
    await proxy.reset();
    const output = top ? ["--opt", "filename=Dockerfile.top"] : archive("/dev/null");
    if (top)
      writeFileSync(join(folder, "Dockerfile.top"), `${readFileSync(join(folder, "Dockerfile.top"))}#\n`);
    const source = ["--import-cache", cache(containers[0])];
    const { whole, ...result } = daemon.build("", folder, [...source, ...output]);
    const { requests } = await proxy.reset();
    await daemon.stop();
    return { ...result, time: whole, requests };
  });
}

try {
  const wanted = (name) => values.only === "" || values.only.split(",").includes(name);
  const small = copied(41, 2000);
  if (wanted("small")) {
    await measure("41 small layers, 10 ms", { rttMs: 10, mbps: 0 }, small, false);
    await measure("41 small layers, 40 ms", { rttMs: 40, mbps: 0 }, small, false);
  }
  if (wanted("text")) {
    // noise of 6 bits a byte: what layers mostly are compresses
    const text = made(9, Math.ceil((Number(values.large) * 0.75e6) / 9), "base64");
    const title = `${values.large} MB of text in 9`;
    await measure(`${title}, 10 ms, 200 Mbit/s`, { rttMs: 10, mbps: 200 }, text, true);
    await measure(`${title}, loopback`, { rttMs: 0, mbps: 0 }, text, true);
  }
  if (wanted("large") || wanted("loop")) {
    const large = made(9, Math.ceil((Number(values.large) * 1e6) / 9));
    const title = `${values.large} MB in 9`;
    if (wanted("large")) await measure(`${title}, 10 ms, 200 Mbit/s`, { rttMs: 10, mbps: 200 }, large, true);
    if (wanted("loop")) await measure(`${title}, loopback`, { rttMs: 0, mbps: 0 }, large, true);
  }
} finally {
  proxy.stop();
  services.stop();
  rmSync(work, { recursive: true, force: true });
}
process.exit();
