// Caches written by real BuildKit: builds on an empty state folder with one of them, and compares which steps were
// cached, which layers the image got, and that we made no more requests than it did. The recordings' progress never shows a base image or a context as cached;
// ours shows a base image as cached if it was not pulled, so sources are left out of the comparison.
import {
  chmodSync,
  lutimesSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { spawnSync } from "node:child_process";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { dirname, join } from "node:path";
import { writeBlob } from "./azure.mjs";
import { listLayer } from "./canonical.mjs";
import { requestOf, withEngine } from "./check-case.mjs";
import { readJson } from "./corpus.mjs";
import { writeInputs } from "./inputs.mjs";
import { AZURE_KEY, AZURE_URL } from "./services.mjs";

let counter = 0;

/** @returns for each scenario `undefined` or the first difference */
export async function checkImport(folder, testCase, work) {
  const { scenarios, importAttrs = "" } = readJson(join(folder, "import.json"));
  const expected = new Map(
    readJson(join(folder, "expected.json")).scenarios.map((entry) => [entry.id, entry]),
  );
  const container = `import-${process.pid}-${++counter}`;
  for (const { name, file } of readJson(join(folder, "container.json")).blobs) {
    await writeBlob(container, name, readFileSync(blobFile(folder, file)));
  }
  const results = {};
  for (const scenario of scenarios) {
    const target = join(work, `import-${++counter}`);
    mkdirSync(target);
    try {
      results[scenario.id] = await checkScenario(scenario, expected.get(scenario.id), testCase, {
        target,
        container,
        importAttrs,
      });
    } catch (error) {
      results[scenario.id] = `build failed: ${error.message}`;
    } finally {
      rmSync(target, { recursive: true, force: true });
    }
  }
  return results;
}

/** Layers of base images are not repeated in the container's folder. */
function blobFile(folder, file) {
  const path = join(folder, file);
  if (statSync(path, { throwIfNoEntry: false })) return path;
  return join(folder, "..", "..", file.replace(/^.*images\//, "images/"));
}

async function checkScenario(scenario, expected, testCase, { target, container, importAttrs }) {
  const inputs = writeInputs(testCase, join(target, "in"));
  applyChanges(scenario.changes ?? {}, inputs);
  const attributes = {
    name: scenario.from ?? (importAttrs.includes("name=") ? "" : "golden"),
    account_url: AZURE_URL,
    account_name: "devstoreaccount1",
    container,
    secret_access_key: AZURE_KEY,
  };
  for (const field of importAttrs.split(",").filter(Boolean)) {
    const [key, value] = field.split(/=(.*)/s);
    if (key !== "name" || !scenario.from) attributes[key] = value;
  }
  const changed = { ...testCase, options: { ...testCase.options, ...scenario.options } };
  const archive = join(target, "image.tar");
  const steps = new Map();
  const request = requestOf(changed, inputs, {
    outputs: [{ type: "oci", attributes: { dest: archive } }],
    cacheFrom: [{ type: "azblob", attributes }],
  });
  const onProgress = (event) => {
    if (event.kind === "vertex" && event.vertex.completed)
      steps.set(event.vertex.name, event.vertex.cached === true);
  };
  const stop = countRequests();
  await withEngine(target, (engine) => engine.build({ ...request, onProgress }));
  const requests = stop();
  if (requests > expected.requests.length)
    return `${requests} requests, BuildKit makes ${expected.requests.length}`;
  for (const { name, cached } of expected.steps) {
    if (/^\[internal\]|\] FROM |^\[context /.test(name)) continue;
    if (!steps.has(name)) return `step "${name}" was not shown`;
    if (steps.get(name) !== cached) return `step "${name}": cached ${steps.get(name)}, want ${cached}`;
  }
  return compareLayers(archive, expected);
}

/** Requests to Azure from now on. @returns gives their number */
function countRequests() {
  let count = 0;
  const { host } = new URL(AZURE_URL);
  const listen = ({ request }) => {
    if (request.getHeader("host") === host) count++;
  };
  subscribe("http.client.request.start", listen);
  return () => {
    unsubscribe("http.client.request.start", listen);
    return count;
  };
}

function applyChanges({ files = {}, modes = {}, mtimes = {}, dockerfile = [] }, inputs) {
  const usual = 1704067200;
  for (const [path, content] of Object.entries(files)) {
    const file = join(inputs.context, path);
    if (content === null) rmSync(file, { recursive: true });
    else {
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, content);
      utimesSync(file, usual, usual);
    }
    utimesSync(dirname(file), usual, usual);
  }
  for (const [path, mode] of Object.entries(modes)) chmodSync(join(inputs.context, path), parseInt(mode, 8));
  for (const [path, time] of Object.entries(mtimes)) lutimesSync(join(inputs.context, path), time, time);
  const file = join(inputs.dockerfile, "Dockerfile");
  let text = readFileSync(file, "utf8");
  for (const [from, to] of dockerfile) text = text.replaceAll(from, to);
  writeFileSync(file, text);
  utimesSync(file, usual, usual);
}

function compareLayers(archive, expected) {
  const read = (path) => spawnSync("tar", ["-xOf", archive, path], { maxBuffer: 1 << 28 }).stdout;
  const blob = (digest) => read(`blobs/sha256/${digest.slice("sha256:".length)}`);
  const top = JSON.parse(blob(JSON.parse(read("index.json")).manifests[0].digest));
  const allCached = expected.steps.every(({ name, cached }) => cached || /^\[internal\]|\] FROM /.test(name));
  for (const { platform, layers } of expected.images) {
    const isOurs = ({ platform: p }) =>
      [p.os, p.architecture, p.variant].filter(Boolean).join("/") === platform;
    const manifest = top.manifests ? JSON.parse(blob(top.manifests.find(isOurs).digest)) : top;
    if (manifest.layers.length !== layers.length)
      return `${manifest.layers.length} layers, want ${layers.length}`;
    for (const [i, wanted] of layers.entries()) {
      const got = manifest.layers[i];
      const listing = listLayer(blob(got.digest));
      if (wanted.diffID && listing.diffId !== wanted.diffID)
        return `layer ${i}: diffID ${listing.diffId}, want ${wanted.diffID}`;
      // a layer that was made again is packed by our gzip; one from the cache is taken as it is
      if (allCached && wanted.sameBlob && got.digest !== wanted.fromCache)
        return `layer ${i}: ${got.digest}, want ${wanted.fromCache} unchanged`;
      const names = listing.entries.map((entry) => entry.name).sort();
      if (wanted.new && JSON.stringify(names) !== JSON.stringify([...wanted.new].sort()))
        return `layer ${i} has ${names}, want ${wanted.new}`;
    }
  }
  return undefined;
}
