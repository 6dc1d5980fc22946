// Runs a corpus of recordings against the build in dist/. See docs/dev/golden.md, or --help.
import { spawn, spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { DEFAULT_CORPUS, readCases } from "./lib/corpus.mjs";

export const KINDS = [
  "llb",
  "frontend",
  "cache-max",
  "cache-min",
  "image",
  "import",
  "errors",
  "check",
  "outline",
  "targets",
];

const { values } = parseArgs({
  options: {
    corpus: { type: "string", default: DEFAULT_CORPUS },
    kind: { type: "string" },
    case: { type: "string" },
    json: { type: "boolean", default: false },
    verbose: { type: "boolean", default: false },
    check: { type: "boolean", default: false },
    update: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
if (values.help) {
  console.log(
    `npm run golden -- [--corpus DIR] [--kind ${KINDS.join(",")}] [--case REGEX] [--json] [--check] [--update]`,
  );
  process.exit(0);
}

if (process.env.BLUEKILN_GOLDEN_NETNS === undefined) {
  const script = `ip link set lo up && exec "$@"`;
  const args = ["-n", "--", "sh", "-c", script, "sh", process.execPath, ...process.argv.slice(1)];
  const child = spawn("unshare", args, {
    stdio: "inherit",
    env: { ...process.env, BLUEKILN_GOLDEN_NETNS: "1" },
  });
  child.on("exit", (code, signal) => process.exit(code ?? (signal ? 1 : 0)));
} else {
  process.exitCode = await main();
}

async function main() {
  const here = dirname(fileURLToPath(import.meta.url));
  if (!existsSync(join(here, "..", "..", "dist", "index.js"))) {
    const built = spawnSync("npm", ["run", "build"], { stdio: "inherit", cwd: join(here, "..", "..") });
    if (built.status !== 0) return 1;
  }
  const { startServices } = await import("./lib/services.mjs");
  const { checkCase } = await import("./lib/check-case.mjs");
  const { loadZstd } = await import("./lib/canonical.mjs");
  await loadZstd();
  const kinds = values.kind ? values.kind.split(",") : KINDS;
  const corpus = resolve(values.corpus);
  const work = mkdtempSync(join(tmpdir(), "bluekiln-golden-"));
  mkdirSync(join(work, "services"));
  const services = await startServices(corpus, join(work, "services"));
  const report = Object.fromEntries(
    kinds.map((kind) => [kind, { passed: 0, ids: [], failed: [], differences: {} }]),
  );
  const note = (kind, id, difference) => {
    if (difference === undefined) {
      report[kind].passed++;
      report[kind].ids.push(id);
    } else {
      report[kind].failed.push(id);
      report[kind].differences[id] = difference;
    }
  };
  const pattern = values.case ? new RegExp(values.case) : undefined;
  try {
    for (const testCase of readCases(corpus)) {
      if (pattern && !pattern.test(testCase.id)) continue;
      const start = Date.now();
      const results = await checkCase(testCase, { kinds, work, corpus });
      if (values.verbose) console.error(`${testCase.id} ${Date.now() - start} ms`);
      for (const [kind, difference] of Object.entries(results)) note(kind, testCase.id, difference);
    }
    if (kinds.includes("import")) {
      const { checkImport } = await import("./lib/check-import.mjs");
      const cases = new Map(readCases(corpus).map((testCase) => [testCase.id, testCase]));
      for (const name of readdirSync(join(corpus, "import")).sort()) {
        const folder = join(corpus, "import", name);
        const testCase = cases.get(JSON.parse(readFileSync(join(folder, "import.json"), "utf8")).case);
        if (pattern && !pattern.test(name) && !pattern.test(testCase.id)) continue;
        const results = await checkImport(folder, testCase, work);
        for (const [scenario, difference] of Object.entries(results))
          note("import", `${name}/${scenario}`, difference);
      }
    }
  } finally {
    services.stop();
    rmSync(work, { recursive: true, force: true });
  }
  for (const kind of kinds) {
    const { passed, failed, differences } = report[kind];
    console.log(`${kind}: ${passed} of ${passed + failed.length} pass`);
    for (const id of failed)
      console.log(`  ${id}: ${String(differences[id]).replaceAll("\n", "\n    ").slice(0, 1500)}`);
  }
  if (values.json) {
    console.log(
      JSON.stringify(
        Object.fromEntries(
          kinds.map((kind) => [kind, { passed: report[kind].passed, failed: report[kind].failed }]),
        ),
      ),
    );
  }
  const listFile = join(here, "passing.json");
  const listed = JSON.parse(readFileSync(listFile, "utf8"));
  if (values.update) {
    const all = Object.fromEntries(
      kinds.map((kind) => [kind, [...new Set([...(listed[kind] ?? []), ...report[kind].ids])].sort()]),
    );
    writeFileSync(listFile, `${JSON.stringify({ ...listed, ...all }, null, 2)}\n`);
  }
  if (!values.check) return 0;
  let passed = 0;
  const lost = [];
  for (const kind of kinds) {
    for (const id of listed[kind] ?? []) {
      if (report[kind].ids.includes(id)) passed++;
      else if (!pattern || pattern.test(id))
        lost.push(`${kind} ${id}: ${report[kind].differences[id] ?? "did not run"}`);
    }
  }
  for (const text of lost) console.log(`no longer passes: ${text.slice(0, 1500)}`);
  console.log(`golden: ${passed} passed, ${lost.length} failed`);
  return lost.length === 0 ? 0 : 1;
}
