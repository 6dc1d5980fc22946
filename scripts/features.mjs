// Writes docs/features.md: what of the Dockerfile language and of the flags is checked against recordings of BuildKit,
// and what the end-to-end tests say. Made from the tests; `--check` fails if the page is not what it would write.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const ROOT = join(import.meta.dirname, "..");
const PAGE = join(ROOT, "docs", "features.md");
const CASES = join(ROOT, "test", "golden", "corpus", "cases");
const readJson = (path) => JSON.parse(readFileSync(path, "utf8"));

const passing = readJson(join(ROOT, "test", "golden", "passing.json"));
const kindsOf = { success: ["llb", "frontend", "cache-max", "cache-min", "image"], error: ["errors"] };
const COMMON = ["check", "outline", "targets"];

/** feature -> cases, and whether all their recordings are matched */
function features() {
  const found = new Map();
  for (const id of readdirSync(CASES)) {
    const { features, kind } = readJson(join(CASES, id, "case.json"));
    const kinds = [...kindsOf[kind], ...COMMON];
    const failing = kinds.filter((name) => !passing[name]?.includes(id));
    for (const feature of features) {
      const entry = found.get(feature) ?? { cases: [], failing: [] };
      entry.cases.push(id);
      if (failing.length > 0) entry.failing.push(`${id} (${failing.join(", ")})`);
      found.set(feature, entry);
    }
  }
  return [...found].sort(([a], [b]) => (a.toLowerCase() < b.toLowerCase() ? -1 : 1));
}

/** Titles of a file's tests; a table's placeholders stay. */
function titles(file) {
  const text = readFileSync(file, "utf8");
  return [
    ...text.matchAll(
      /^\s*(?:it(?:\.each\([\s\S]*?\)\s*)?|\]\)|\)|it\.each\(\w+\))\(\s*"((?:[^"\\]|\\.)*)"/gm,
    ),
  ].map(([, title]) => JSON.parse(`"${title}"`));
}

function page() {
  const lines = [
    "# Features",
    "",
    "Made by `npm run features` from the tests; don't edit.",
    "",
    "## The Dockerfile language and build flags",
    "",
    "Each case was recorded with the real BuildKit and buildx: the graph with the digest of every operation, the cache",
    "manifests, the image, warnings and errors, `--check`, `--call=outline` and `--call=targets`. A feature is complete",
    "where all recordings of all its cases are matched.",
    "",
    "| feature | status | cases |",
    "| --- | --- | --- |",
  ];
  for (const [feature, { cases, failing }] of features()) {
    const status = failing.length === 0 ? "complete" : `differs: ${failing.join("; ")}`;
    lines.push(`| ${feature.replaceAll("|", "\\|")} | ${status} | ${cases.join(", ")} |`);
  }
  for (const folder of ["e2e", "faults", "auth"]) {
    const path = join(ROOT, "test", folder);
    const files = readdirSync(path)
      .filter((name) => name.endsWith(".test.ts"))
      .sort();
    const all = files.map((name) => [name.replace(".test.ts", ""), titles(join(path, name))]);
    if (all.every(([, list]) => list.length === 0)) continue;
    lines.push("", `## Tests on real parts: ${folder}`, "");
    const shown = (title) => title.replace(/%[sj]|\$\w+/g, "...");
    for (const [name, list] of all) lines.push(...list.map((title) => `- ${name}: ${shown(title)}`));
  }
  return `${lines.join("\n")}\n`;
}

if (process.argv.includes("--check")) {
  let current = "";
  try {
    current = readFileSync(PAGE, "utf8");
  } catch {
    // not there: not what it would be
  }
  if (current !== page()) {
    console.error("docs/features.md is not what the tests say; run npm run features");
    process.exitCode = 1;
  }
} else writeFileSync(PAGE, page());
