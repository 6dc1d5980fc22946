// Builds random Dockerfiles with our daemon and with a buildkitd, and tells where they differ: in errors, warnings, steps,
// the image's config, or its layers, byte for byte.
//   npm run beside -- --buildkitd PATH --buildctl PATH [--what dockerfiles|files|sources] [--from 1] [--count 100]
// A difference is a question, not a failure: versions of BuildKit differ too. The recordings (docs/dev/golden.md) decide.
import { spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout } from "node:timers/promises";
import { parseArgs } from "node:util";
import { startDemoServices } from "../../scripts/demo-services.mjs";
import { dockerfile } from "./dockerfiles.mjs";
import { fileSteps } from "./files.mjs";
import { sources, startOrigin } from "./sources.mjs";

const { values } = parseArgs({
  options: {
    buildkitd: { type: "string" },
    buildctl: { type: "string", default: "buildctl" },
    what: { type: "string", default: "dockerfiles" },
    from: { type: "string", default: "1" },
    count: { type: "string", default: "100" },
  },
});
if (!values.buildkitd) throw new Error("give the other daemon: --buildkitd PATH");
const generate = { dockerfiles: dockerfile, files: fileSteps, sources }[values.what];
if (!generate) throw new Error("--what is dockerfiles, files or sources");

const EPOCH = 1_700_000_000;
const work = mkdtempSync(join(tmpdir(), "bluekiln-beside-"));
const services = await startDemoServices(work);
const origin = await startOrigin(work);
const daemons = {
  ours: await startDaemon("ours", [
    process.execPath,
    join(import.meta.dirname, "..", "..", "bin", "bluekilnd.js"),
  ]),
  theirs: await startDaemon("theirs", [values.buildkitd, "--oci-worker-gc=false"]),
};

async function startDaemon(name, [command, ...args]) {
  const root = join(work, name);
  mkdirSync(root);
  const address = `unix://${join(root, "socket")}`;
  const child = spawn(command, [...args, "--root", root, "--addr", address], { stdio: "ignore" });
  const isReady = () =>
    existsSync(join(root, "socket")) &&
    spawnSync(values.buildctl, ["--addr", address, "debug", "workers"]).status === 0;
  for (let tries = 0; !isReady(); tries++) {
    if (tries > 200) throw new Error(`${command} does not start`);
    await setTimeout(50);
  }
  return { child, address };
}

/** Files of one time, so that layers can be compared. */
function write(root, files) {
  for (const [path, file] of Object.entries(files)) {
    const full = join(root, path);
    mkdirSync(dirname(full), { recursive: true });
    const isPlain = typeof file === "string" || Buffer.isBuffer(file);
    const { link, folder, mode, data } = isPlain ? { data: file } : file;
    if (link !== undefined) symlinkSync(link, full);
    else if (folder) mkdirSync(full, { recursive: true });
    else writeFileSync(full, data);
    if (mode !== undefined) chmodSync(full, mode);
  }
  for (const path of readdirSync(root, { recursive: true })) lutimesSync(join(root, path), EPOCH, EPOCH);
  lutimesSync(root, EPOCH, EPOCH);
}

async function build(name, folder, options, locals = []) {
  const archive = join(work, `${name}.tar`);
  const child = spawn(values.buildctl, [
    ...["--addr", daemons[name].address, "build", "--progress=rawjson", "--frontend", "dockerfile.v0"],
    ...["--local", `context=${folder}`, "--local", `dockerfile=${folder}`],
    ...locals.flatMap((local) => ["--local", `${local}=${join(folder, local)}`]),
    ...["--opt", `build-arg:SOURCE_DATE_EPOCH=${EPOCH}`, ...options, "--output"],
    `type=oci,dest=${archive},rewrite-timestamp=true,compression=uncompressed,force-compression=true`,
  ]);
  const closed = new Promise((resolve) => child.once("close", resolve));
  const [said, status] = await Promise.all([text(child.stderr), closed]);
  const outcome = { ...toldBy(said), image: status === 0 ? readImage(archive) : undefined };
  rmSync(archive, { force: true });
  return outcome;
}

/** What a client was told: errors without what is new in every build, the names of steps, warnings. */
function toldBy(said) {
  const steps = new Map();
  const warnings = [];
  const rest = [];
  for (const line of said.split("\n")) {
    if (!line.startsWith("{")) {
      rest.push(line);
      continue;
    }
    const { vertexes = [], warnings: more = [] } = JSON.parse(line);
    for (const { digest, name } of vertexes) steps.set(digest, name);
    for (const { short, range } of more)
      warnings.push(`${Buffer.from(short, "base64")} ${JSON.stringify(range)}`);
  }
  const error = rest
    .join("\n")
    .replaceAll(/sha256:[0-9a-f]{64}/g, "DIGEST")
    .replaceAll(/ref [a-z0-9:]+:/g, "ref ID:")
    .replaceAll(/failed to do request:.*/g, "no such host")
    .replace(/(?<=violation found for rules: ).*/, (rules) => rules.split(", ").sort().join())
    .replaceAll(/\/[^ ]*\/(fs|buildkit\d+)\//g, "/")
    .trim();
  // what platforms share has the name of whichever came first
  const names = new Set([...steps.values()].map((name) => name.replaceAll(/\[linux\/\S+ /g, "[PLATFORM ")));
  return { error, steps: [...names].sort(), warnings: error === "" ? warnings.sort() : [] };
}

/** @returns the images of all platforms as one: their configs, their layers */
function readImage(archive) {
  const read = (path) => spawnSync("tar", ["-xOf", archive, path], { maxBuffer: 1 << 30 }).stdout;
  const blob = ({ digest }) => read(`blobs/${digest.replace(":", "/")}`);
  const list = (layer) =>
    spawnSync("tar", ["-tv", "--full-time", "--numeric-owner"], { input: blob(layer), encoding: "utf8" })
      .stdout;
  const config = [];
  const layers = [];
  const add = (descriptor) => {
    const manifest = JSON.parse(blob(descriptor));
    if (manifest.manifests) return manifest.manifests.forEach(add);
    if (descriptor.annotations?.["vnd.docker.reference.type"]) return;
    const { rootfs: _, ...image } = JSON.parse(blob(manifest.config));
    const shown = JSON.stringify([descriptor.platform, image], null, 1);
    config.push(...shown.replaceAll(/\[linux\/\S+ /g, "[PLATFORM ").split("\n"));
    for (const layer of manifest.layers ?? [])
      layers.push({ digest: layer.digest, entries: list(layer).split("\n") });
  };
  JSON.parse(read("index.json")).manifests.forEach(add);
  return { config, layers };
}

/** @returns what of two lists only one has */
const onlyIn = (a, b) => ({ ours: a.filter((x) => !b.includes(x)), theirs: b.filter((x) => !a.includes(x)) });

function differences(ours, theirs) {
  const found = {};
  const compare = (what, a, b) => {
    if (JSON.stringify(a) !== JSON.stringify(b)) found[what] = onlyIn(a, b);
  };
  compare("error", [ours.error], [theirs.error]);
  if (!ours.image || !theirs.image) return found;
  compare("warnings", ours.warnings, theirs.warnings);
  compare("steps", ours.steps, theirs.steps);
  compare("config", ours.image.config, theirs.image.config);
  ours.image.layers.forEach((layer, i) => {
    const other = theirs.image.layers[i];
    if (layer.digest !== other?.digest) found[`layer ${i}`] = onlyIn(layer.entries, other?.entries ?? []);
  });
  return found;
}

const [from, count] = [Number(values.from), Number(values.count)];
const different = [];
try {
  for (let seed = from; seed < from + count; seed++) {
    const folder = join(work, `context-${seed}`);
    const { text: Dockerfile, files, options, locals } = generate(seed, { base: services.base, origin });
    mkdirSync(folder);
    write(folder, { ...files, Dockerfile });
    const [ours, theirs] = await Promise.all(
      Object.keys(daemons).map((name) => build(name, folder, options, locals)),
    );
    const found = differences(ours, theirs);
    if (Object.keys(found).length > 0) {
      different.push(seed);
      console.log(`=== seed ${seed}\n${Dockerfile}\n${options.join(" ")}\n${JSON.stringify(found, null, 1)}`);
    }
    rmSync(folder, { recursive: true, force: true });
  }
  console.log(`${count} builds, ${different.length} different: ${different.join(" ")}`);
} finally {
  for (const { child } of Object.values(daemons)) child.kill();
  await setTimeout(1000);
  services.stop();
  origin.stop();
  rmSync(work, { recursive: true, force: true });
}
process.exit();
