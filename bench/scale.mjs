// How the cache's parts grow: a large graph that is fully cached, a large manifest that is imported, a large state
// folder that is pruned. Prints seconds and peak memory for three sizes of each:
//   npm run bench:scale [-- --only cached,manifest,prune]
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: { only: { type: "string", default: "cached,manifest,prune" }, part: { type: "string" } },
});
const work = values.part ? undefined : mkdtempSync(join(tmpdir(), "bluekiln-scale-"));
const root = join(import.meta.dirname, "..");
const sha256 = (text) => `sha256:${createHash("sha256").update(text).digest("hex")}`;

/** A process of its own for each size, so that its peak memory is that size's. */
function child(part, size) {
  const file = join(work, "peak");
  const run = spawnSync(
    process.execPath,
    ["--import", join(import.meta.dirname, "peak.mjs"), import.meta.filename, "--part", `${part}:${size}`],
    { encoding: "utf8", env: { ...process.env, BENCH_PEAK_FILE: file, BENCH_WORK: work } },
  );
  if (run.status !== 0) throw new Error(run.stderr);
  return { seconds: Number(run.stdout.trim()), peak: Number(readFileSync(file, "utf8")) / 1024 };
}

function report(title, sizes, task) {
  let before;
  for (const size of sizes) {
    const { seconds, peak } = task(size);
    const growth = before === undefined ? "" : `   x${(seconds / before).toFixed(1)} for x2`;
    console.log(
      `${title.padEnd(36)} ${String(size).padStart(6)}   ${seconds.toFixed(2).padStart(6)} s   ${peak.toFixed(0).padStart(4)} MiB${growth}`,
    );
    before = seconds;
  }
}

/** Stages of 50 steps each; the last stage takes a file of every one. */
function cachedGraph(steps) {
  const context = join(work, `context-${steps}`);
  mkdirSync(context);
  writeFileSync(join(context, "f"), "content");
  const stages = Array.from({ length: steps / 50 }, (_, s) =>
    [`FROM scratch AS s${s}`, ...Array.from({ length: 49 }, (_, i) => `COPY f /${s}-${i}`)].join("\n"),
  );
  const last = stages.map((_, s) => `COPY --from=s${s} /${s}-48 /${s}`).join("\n");
  writeFileSync(join(context, "Dockerfile"), `${stages.join("\n")}\nFROM scratch\n${last}\n`);
  const state = join(work, `state-${steps}`);
  const args = ["build", "--state-dir", state, "--output", `type=oci,dest=${join(work, "out.tar")}`, context];
  const build = () => {
    const file = join(work, "peak");
    const start = performance.now();
    const run = spawnSync(
      process.execPath,
      ["--import", join(import.meta.dirname, "peak.mjs"), join(root, "bin/bluekiln.js"), ...args],
      { encoding: "utf8", env: { ...process.env, BENCH_PEAK_FILE: file }, maxBuffer: 1 << 28 },
    );
    if (run.status !== 0) throw new Error(run.stderr);
    return { seconds: (performance.now() - start) / 1000, peak: Number(readFileSync(file, "utf8")) / 1024 };
  };
  build();
  const runs = [build(), build(), build()].sort((a, b) => a.seconds - b.seconds);
  return runs[1];
}

const parts = {
  /** chains of 100 records, each with a layer */
  async manifest(size) {
    const { decodeManifest, encodeManifest, ImportedCache } = await import("../dist/cache/index.js");
    const layers = [];
    const records = [];
    for (let i = 0; i < size; i++) {
      const isFirst = i % 100 === 0;
      const digest = sha256(`blob ${i}`);
      layers.push({
        parent: isFirst ? -1 : i - 1,
        descriptor: { mediaType: "m", digest, size: 1000, diffId: digest },
        createdAt: 1000,
      });
      records.push({
        digest: sha256(`record ${i}`),
        inputs: isFirst ? [] : [[{ link: i - 1, selector: undefined }]],
        results: [{ layer: i, createdAt: 1000 }],
      });
    }
    const data = encodeManifest({ layers, records });
    const start = performance.now();
    const manifest = decodeManifest(data);
    const blobs = { name: "none", open: () => Promise.reject(new Error("not read")) };
    const cache = new ImportedCache({
      cache: { name: "bench", manifest, blobs, hasBlob: async () => true },
      load: async (chain) => chain.length,
    });
    for (let first = 0; first < size; first += 100) {
      let [id] = cache.roots(sha256(`record ${first}`));
      for (let i = first + 1; i < first + 100; i++)
        [id] = cache.children(id, 0, sha256(`record ${i}`), undefined);
      if ((await cache.results(id)[0].load(new AbortController().signal)) !== 100) throw new Error("lost");
    }
    return (performance.now() - start) / 1000;
  },

  /** chains of 20 layers with a file each, and a cache record for each */
  async prune(size) {
    const { Engine } = await import("../dist/index.js");
    const { PRUNE_ALL } = await import("../dist/prune/index.js");
    const stateDir = join(process.env.BENCH_WORK, `prune-${size}`);
    const engine = new Engine({ stateDir });
    let parent;
    let record = sha256("root");
    for (let i = 0; i < size; i++) {
      if (i % 20 === 0) [parent, record] = [undefined, sha256(`root ${i}`)];
      const { upper } = engine.refs.newFolders();
      writeFileSync(join(stateDir, upper, "f"), "content");
      parent = await engine.refs.commit(upper, parent, `layer ${i}`);
      const inputs = [[{ parent: record, selector: undefined }]];
      record = engine.localCache.save({ digest: sha256(`record ${i}`), inputs }, { ref: parent });
    }
    const start = performance.now();
    let removed = 0;
    await engine.prune(PRUNE_ALL, () => removed++, new AbortController().signal);
    const seconds = (performance.now() - start) / 1000;
    if (removed !== size) throw new Error(`${removed} of ${size} removed`);
    const { problems, layers, records } = await engine.check(true);
    if (problems.length + layers + records > 0) throw new Error(problems[0] ?? "something is left");
    await engine.close();
    return seconds;
  },
};

if (values.part) {
  const [part, size] = values.part.split(":");
  console.log(await parts[part](Number(size)));
  process.exit(0);
}
try {
  const wanted = values.only.split(",");
  if (wanted.includes("cached")) report("steps, fully cached", [500, 1000, 2000], cachedGraph);
  if (wanted.includes("manifest"))
    report("records of a manifest, imported", [5000, 10_000, 20_000], (size) => child("manifest", size));
  if (wanted.includes("prune"))
    report("layers and records, pruned", [2500, 5000, 10_000], (size) => child("prune", size));
} finally {
  rmSync(work, { recursive: true, force: true });
}
