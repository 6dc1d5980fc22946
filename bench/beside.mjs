// Times this builder beside another one in one run, interleaved, and prints medians and ratios:
//   npm run bench:beside -- "docker buildx build --provenance=false" [--runs 5] [--version "docker buildx version"]
//     [--tree DIR] [--only cached,unpacked] [--verbose]
// The other builder has to reach registries on 127.0.0.1. Every cold build is salted, so that nobody's cache has it.
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { startDemoServices } from "../scripts/demo-services.mjs";

const { values, positionals } = parseArgs({
  options: {
    runs: { type: "string", default: "5" },
    version: { type: "string", default: "docker buildx version" },
    verbose: { type: "boolean" },
    only: { type: "string", default: "" },
    tree: { type: "string", default: join(import.meta.dirname, "..", "node_modules") },
  },
  allowPositionals: true,
});
if (positionals.length !== 1)
  throw new Error('give the other builder\'s command, for example "docker buildx build"');

const work = mkdtempSync(join(tmpdir(), "bluekiln-beside-"));
const services = await startDemoServices(work);
const ours = [process.execPath, join(import.meta.dirname, "..", "bin", "bluekiln.js")];
const state = join(work, "state");
const builders = {
  ours: {
    build: [...ours, "build", "--state-dir", state, "--progress=plain"],
    version: [...ours, "version"],
  },
  theirs: { build: [...positionals[0].split(" "), "--progress=plain"], version: values.version.split(" ") },
};

function seconds([command, ...args]) {
  spawnSync("sync");
  const start = performance.now();
  const result = spawnSync(command, args, { encoding: "utf8", maxBuffer: 1 << 28 });
  if (result.status !== 0) throw new Error(`${command} ${args.join(" ")}\n${result.stderr}${result.stdout}`);
  return (performance.now() - start) / 1000;
}

const alternate = (list, run) => (run % 2 === 0 ? list : [...list].reverse());
const wanted = values.only === "" ? [""] : values.only.split(",");
const skipped = (title) => !wanted.some((part) => title.includes(part));

const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];

/** @param prepare gives the arguments of one run, for each builder */
function compare(title, prepare, kind = "build") {
  if (skipped(title)) return;
  const times = { ours: [], theirs: [] };
  for (let run = 0; run < Number(values.runs); run++)
    // who goes first alternates: what one leaves to be written slows the other down
    for (const [name, builder] of alternate(Object.entries(builders), run))
      times[name].push(seconds([...builder[kind], ...prepare(name, run)]));
  const [a, b] = [median(times.ours), median(times.theirs)];
  if (values.verbose) console.log(JSON.stringify(times));
  console.log(
    `${title.padEnd(44)} ours ${a.toFixed(2).padStart(6)} s   theirs ${b.toFixed(2).padStart(6)} s   ratio ${(a / b).toFixed(2)}`,
  );
}

let counter = 0;
function folder(dockerfile) {
  const path = join(work, `context-${++counter}`);
  mkdirSync(path);
  writeFileSync(join(path, "Dockerfile"), dockerfile);
  return path;
}

const push = (name) => ["--output", `type=image,push=true,name=${services.registry}/${name}`];
const steps = (salt) =>
  Array.from({ length: 40 }, (_, i) => `RUN --network=none echo ${salt} ${i} > /step-${i}\n`).join("");

try {
  compare("start-up", () => [], "version");
  compare("40 RUN steps, cold, pushed", (name, run) => [
    ...push(`cold:${name}-${run}`),
    folder(`FROM ${services.base}\n${steps(`${name} ${run}`)}`),
  ]);
  const cached = folder(`FROM ${services.base}\n${steps("cached")}`);
  for (const [name, { build }] of skipped("cached") ? [] : Object.entries(builders))
    seconds([...build, ...push(`cached:${name}`), cached]);
  compare("40 RUN steps, cached, pushed", (name) => [...push(`cached:${name}`), cached]);

  const tree = folder("FROM scratch\nCOPY . /\n");
  cpSync(values.tree, join(tree, "tree"), { recursive: true, verbatimSymlinks: true });
  const salted = (text) => {
    writeFileSync(join(tree, "salt"), text);
    return tree;
  };
  compare("a tree copied into a layer, pushed", (name, run) => [
    ...push(`layer:${name}-${run}`),
    salted(`${name} ${run}`),
  ]);
  // everybody unpacks layers they have never seen; nothing is deleted, which would slow down what comes next
  const other = [...ours, "build", "--state-dir", join(work, "other-state")];
  for (const name of skipped("unpacked") ? [] : ["ours", "theirs"])
    for (let run = 0; run < Number(values.runs); run++)
      seconds([...other, ...push(`base:${name}-${run}`), salted(`base ${name} ${run}`)]);
  compare("its layer pulled and unpacked", (name, run) => [
    ...(name === "theirs" ? ["--output", "type=cacheonly"] : []),
    folder(`FROM ${services.registry}/base:${name}-${run}\nCOPY Dockerfile /\n`),
  ]);
} finally {
  services.stop();
  rmSync(work, { recursive: true, force: true });
}
