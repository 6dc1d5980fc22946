// One case: builds it and compares what came out with what was recorded.
import { mkdirSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { spawn, spawnSync } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Engine } from "../../../dist/builder/index.js";
import { describe } from "../../../dist/cli/describe.js";
import { failureText, placesOf } from "../../../dist/cli/failure.js";
import { formatPlatform, parsePlatform } from "../../../dist/frontend/index.js";
import { encodeDefinition } from "../../../dist/llb/index.js";
import { canonical, compareCaches, listLayer } from "./canonical.mjs";
import { writeInputs } from "./inputs.mjs";
import { AZURE_KEY, AZURE_URL } from "./services.mjs";
import { readBlob } from "./azure.mjs";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..", "..", "..");
let counter = 0;

/** @returns for each kind that applies: `undefined` if it passes, else the first difference */
export async function checkCase(testCase, { kinds, work }) {
  const results = {};
  const calls = ["check", "outline", "targets"].filter(
    (kind) => kinds.includes(kind) && testCase.has(`${kind}.json`),
  );
  const folder = join(work, `case-${++counter}`);
  mkdirSync(folder);
  const inputs = writeInputs(testCase, join(folder, "in"));
  const wants = (kind) => kinds.includes(kind);
  try {
    if (calls.length > 0) {
      await withEngine(folder, async (engine) => {
        const request = requestOf(testCase, inputs, {});
        for (const call of calls) results[call] = await checkCall(call, testCase, inputs, engine, request);
      });
    }
    if (testCase.kind === "error") {
      if (wants("errors")) results.errors = await checkError(testCase, inputs, folder);
      return results;
    }
    if (["llb", "frontend", "cache-max", "cache-min"].some(wants))
      await checkPlain(testCase, inputs, folder, wants, results);
    if (wants("image") || wants("llb")) await checkEpoch(testCase, inputs, folder, wants, results);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return results;
}

export function requestOf(testCase, inputs, { buildArgs = {}, outputs = [], cacheTo = [], cacheFrom = [] }) {
  const o = testCase.options ?? {};
  const contexts = Object.fromEntries(
    Object.entries(o.contexts ?? {}).map(([name, value]) => [
      name.toLowerCase(),
      value.dir !== undefined
        ? { kind: "local", name: name.toLowerCase() }
        : { kind: "image", reference: value.image },
    ]),
  );
  const folders = new Map([
    ["context", inputs.context],
    ["dockerfile", inputs.dockerfile],
  ]);
  for (const [name, value] of Object.entries(o.contexts ?? {}))
    if (value.dir !== undefined) folders.set(name.toLowerCase(), inputs[value.dir]);
  const secrets = new Map();
  for (const secret of o.secrets ?? []) {
    const variable = `BLUEKILN_GOLDEN_${secret.id}`;
    process.env[variable] = secret.text;
    secrets.set(secret.id, { kind: "env", name: variable });
  }
  return {
    frontend: {
      context: "",
      filename: "Dockerfile",
      hasOwnDockerfile: true,
      target: o.target ?? "",
      buildArgs: { ...o.buildArgs, ...buildArgs },
      labels: o.labels ?? {},
      platforms: (o.platforms ?? []).map(parsePlatform),
      noCache: o.noCache ?? o.noCacheFilter ?? false,
      pull: o.pull ?? false,
      addHosts: (o.addHosts ?? []).map((text) => ({
        host: text.slice(0, text.indexOf(":")),
        ip: text.slice(text.indexOf(":") + 1),
      })),
      network: o.network ?? "default",
      shmSize: o.shmSize ?? 0,
      ulimits: (o.ulimits ?? []).map((text) => {
        const [, Name, soft, hard] = /^(\w+)=(\d+)(?::(\d+))?$/.exec(text);
        return { Name, Soft: Number(soft), Hard: Number(hard ?? soft) };
      }),
      cgroupParent: "",
    },
    folders,
    contexts,
    layouts: new Map(),
    secrets,
    agents: new Map((o.ssh ?? []).map((id) => [id, agentSocket(inputs.dockerfile)])),
    entitlements: new Set(["network.host", ...(o.allow ?? [])]),
    outputs,
    cacheTo,
    cacheFrom,
    annotations: [],
    sessionId: "golden-session",
    onProgress: () => undefined,
    signal: new AbortController().signal,
  };
}

export async function withEngine(folder, task) {
  const engine = new Engine({ stateDir: join(folder, `state-${++counter}`) });
  try {
    return await task(engine);
  } finally {
    await engine.close();
  }
}

async function checkPlain(testCase, inputs, folder, wants, results) {
  const modes = ["max", "min"].filter((mode) => wants(`cache-${mode}`) && testCase.has(`cache-${mode}.json`));
  const container = `golden-${process.pid}-${++counter}`;
  const cacheTo = modes.map((mode) => azure(container, mode));
  let response;
  try {
    response = await withEngine(folder, (engine) => engine.build(requestOf(testCase, inputs, { cacheTo })));
  } catch (error) {
    for (const kind of ["llb", "frontend", ...modes.map((mode) => `cache-${mode}`)])
      if (wants(kind)) results[kind] = `build failed: ${error.message}`;
    return;
  }
  if (wants("llb")) results.llb = compareLlb(testCase, response.definitions, "llb");
  if (wants("frontend")) results.frontend = compareFrontend(testCase, response);
  for (const mode of modes) {
    try {
      results[`cache-${mode}`] = await compareCache(
        testCase.recorded(`cache-${mode}.json`),
        otherRuns(testCase, mode),
        container,
        mode,
      );
    } catch (error) {
      results[`cache-${mode}`] = error.message;
    }
  }
}

/** Any socket will do: no case asks the agent for anything. */
function agentSocket(folder) {
  const path = join(folder, "..", `agent${++counter}.sock`);
  createServer().listen(path).unref();
  return path;
}

/** A cache of this mode, under the mode's name. */
function azure(container, mode) {
  const attributes = {
    mode,
    name: mode,
    account_url: AZURE_URL,
    account_name: "devstoreaccount1",
    container,
    secret_access_key: AZURE_KEY,
  };
  return { type: "azblob", attributes };
}

function compareLlb(testCase, definitions, stem) {
  const platforms = testCase.options?.platforms ?? [];
  for (const [i, definition] of definitions.entries()) {
    const suffix =
      platforms.length > 1 ? `.${formatPlatform(parsePlatform(platforms[i])).replaceAll("/", "-")}` : "";
    if (!testCase.has(`${stem}${suffix}.pb`)) return `there is no recording ${stem}${suffix}.pb`;
    const wanted = testCase.bytes(`${stem}${suffix}.pb`);
    const got = definition ? Buffer.from(withFixedIds(definition)) : Buffer.alloc(0);
    if (wanted.equals(got)) continue;
    const ops = testCase.recorded(`${stem}${suffix}.json`).ops;
    const fixed = definition?.ops ?? [];
    const at = ops.findIndex((op, j) => op.digest !== fixed[j]?.digest);
    return at < 0
      ? `${stem}${suffix}: metadata or source differ`
      : `${stem}${suffix}: op ${at} is not ${JSON.stringify(ops[at]).slice(0, 400)}`;
  }
  return undefined;
}

const withFixedIds = encodeDefinition;

function compareFrontend(testCase, response) {
  const recorded = testCase.recorded("frontend.json");
  const metadata = recorded.platforms
    ? recorded.platforms.map((entry) => entry.metadata ?? entry)
    : [recorded.metadata];
  for (const [i, wanted] of metadata.entries()) {
    const config = response.frontendResults?.[i];
    if (!config) return "no result";
    const got = JSON.parse(config.config);
    const key = Object.keys(wanted).find((name) => /^containerimage\.config(\/|$)/.test(name));
    if (JSON.stringify(got) !== JSON.stringify(wanted[key])) {
      return `config\n want ${JSON.stringify(wanted[key])}\n got  ${config.config}`;
    }
  }
  const warnings = recorded.platforms ? recorded.platforms[0].warnings : recorded.warnings;
  return difference("warnings", sortedTexts(warnings), sortedTexts(response.warnings.map(recordedWarning)));
}

const difference = (what, want, got) =>
  JSON.stringify(want) === JSON.stringify(got)
    ? undefined
    : `${what}\n want ${JSON.stringify(want)}\n got  ${JSON.stringify(got)}`;
const sortedTexts = (list) => (list ?? []).map((entry) => JSON.stringify(entry)).sort();

/** A warning as frontend.json has it: lines only, 0 is left out. */
function recordedWarning({ rule, description, url, detail, ranges }) {
  const line = (n) => (n ? { line: n } : {});
  return {
    detail: [description],
    level: 1,
    msg: `${rule}: ${detail} (line ${ranges[0].start.line})`,
    ranges: ranges.map(({ start, end }) => ({ end: line(end.line), start: line(start.line) })),
    url,
  };
}

/** `--call`: what it prints as JSON, or the error. Source texts are not compared. */
async function checkCall(call, testCase, inputs, engine, request) {
  const recorded = testCase.recorded(`${call}.json`);
  let [status, stdout, stderr] = [1, "", ""];
  try {
    const description = await engine.describe(request, call);
    ({ code: status, out: stdout } = describe(description, { call, format: "json", ignoreStatus: false }));
  } catch (error) {
    stderr = failureText(error, [], "", placesOf(error), false);
  }
  if (status !== recorded.exitCode) return `exit code ${status}, want ${recorded.exitCode}\n${stderr}`;
  if (recorded.error) {
    const mask = (text) => text.replaceAll(inputs.context, "<DIR>");
    const error = mask(stderr).trimEnd().split("\n").slice(-recorded.error.length);
    return difference("error", recorded.error, error);
  }
  const sortKeys = (value) =>
    Array.isArray(value)
      ? value.map(sortKeys)
      : value && typeof value === "object"
        ? Object.fromEntries(
            Object.keys(value)
              .sort()
              .map((key) => [key, sortKeys(value[key])]),
          )
        : value;
  const { sources, ...result } = JSON.parse(stdout);
  const order = (list, key) => list?.sort((a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0));
  for (const one of [result, recorded.result]) {
    order(
      one.warnings,
      (w) => `${String(w.location?.ranges?.[0]?.start.line ?? 0).padStart(9)} ${w.ruleName} ${w.detail}`,
    );
    for (const list of ["args", "secrets", "ssh"]) order(one[list], (entry) => entry.name);
    // names of rules come in any order
    const { buildError } = one;
    if (buildError?.message.startsWith("lint violation"))
      buildError.message = buildError.message.replace(/rules: (.*)/, (_, rules) =>
        rules.split(", ").sort().join(),
      );
  }
  return difference(call, sortKeys(recorded.result), sortKeys(result));
}

function otherRuns(testCase, mode) {
  const name = `cache-${mode}.other-runs.json`;
  if (!testCase.has(name)) return undefined;
  const recorded = testCase.recorded(name);
  return Array.isArray(recorded) ? recorded : (recorded.runs ?? [recorded]);
}

async function compareCache(recorded, others, container, name) {
  const data = await readBlob(container, `manifests/${name}`);
  if (recorded.written === false || (recorded.records.length === 0 && recorded.layers.length === 0)) {
    return data ? "a manifest was written for an empty cache" : undefined;
  }
  if (!data) return "no manifest was written";
  const manifest = JSON.parse(data);
  const listings = new Map();
  for (const { blob } of manifest.layers ?? []) {
    if (!listings.has(blob)) listings.set(blob, listLayer(await readBlob(container, `blobs/${blob}`)));
  }
  const layers = (manifest.layers ?? []).map(({ blob, parent = 0, annotations }) => {
    const { content, diffId, entries } = listings.get(blob);
    return { content, diffId, mediaType: annotations.mediaType, parent, entries };
  });
  const wanted = canonical(recorded.layers, recorded.records);
  if (others) {
    // what differs from run to run cannot be compared; the rest must be there
    const runs = others.map((run) => canonical(run.layers, run.records));
    const stable = (kind) =>
      wanted[kind].filter(({ id }) => runs.every((run) => run[kind].some((entry) => entry.id === id)));
    const ours = canonical(layers, manifest.records ?? []);
    const missing = stable("records").find(({ id }) => !ours.records.some((entry) => entry.id === id));
    return missing && `missing ${JSON.stringify(missing)}`;
  }
  const difference = compareCaches(wanted, canonical(layers, manifest.records ?? []));
  return difference && `${difference}${describeContents(recorded, layers)}`;
}

/** Where a layer's content is not what was recorded: the first entry that differs from the closest recording. */
function describeContents(recorded, layers) {
  for (const layer of layers) {
    if (recorded.layers.some((other) => other.content === layer.content)) continue;
    const plain = (list) => list.map(({ mtime, ...entry }) => JSON.stringify(entry));
    const got = plain(layer.entries);
    const closest = Object.values(recorded.contents)
      .map(plain)
      .sort((a, b) => b.filter((e) => got.includes(e)).length - a.filter((e) => got.includes(e)).length)[0];
    const extra = got.filter((entry) => !closest?.includes(entry)).slice(0, 3);
    const missing = (closest ?? []).filter((entry) => !got.includes(entry)).slice(0, 3);
    return `\n got ${extra.join(" ")}\n want ${missing.join(" ")}`;
  }
  return "";
}

async function checkEpoch(testCase, inputs, folder, wants, results) {
  const archive = join(folder, "image.tar");
  const multi = (testCase.options?.platforms ?? []).length > 1;
  const needsLlb =
    wants("llb") && [...(testCase.options?.platforms ?? [""])].length > 0 && results.llb === undefined;
  const outputs = wants("image")
    ? [
        {
          type: "oci",
          attributes: { dest: archive, "rewrite-timestamp": "true" },
        },
      ]
    : [];
  let response;
  try {
    response = await withEngine(folder, (engine) =>
      engine.build(requestOf(testCase, inputs, { buildArgs: { SOURCE_DATE_EPOCH: "0" }, outputs })),
    );
  } catch (error) {
    if (wants("image")) results.image = `build failed: ${error.message}`;
    return;
  }
  if (needsLlb && (testCase.has("llb-epoch0.pb") || multi)) {
    const suffixed = multi
      ? testCase.has(
          `llb-epoch0.${formatPlatform(parsePlatform(testCase.options.platforms[0])).replaceAll("/", "-")}.pb`,
        )
      : true;
    if (suffixed) results.llb = compareLlb(testCase, response.definitions, "llb-epoch0");
  }
  if (wants("image")) results.image = compareImage(testCase, archive);
}

function compareImage(testCase, archive) {
  const read = (path) => spawnSync("tar", ["-xOf", archive, path], { maxBuffer: 1 << 28 }).stdout;
  const blob = (digest) => read(`blobs/sha256/${digest.slice("sha256:".length)}`);
  const index = JSON.parse(read("index.json"));
  const top = JSON.parse(blob(index.manifests[0].digest));
  const { images, multi } = testCase.recorded("image.json");
  if (multi !== (top.manifests !== undefined)) return `an index: ${!multi}, want ${multi}`;
  for (const recorded of images) {
    const isOurs = ({ platform: p }) =>
      [p.os, p.architecture, p.variant].filter(Boolean).join("/") === recorded.platform;
    const entry = multi ? top.manifests.find(isOurs) : undefined;
    if (multi && !entry) return `no image for ${recorded.platform}`;
    const manifest = multi ? JSON.parse(blob(entry.digest)) : top;
    const suffix = images.length > 1 ? `.${recorded.platform.replaceAll("/", "-")}` : "";
    const difference = compareOneImage(testCase, recorded, manifest, blob, `image-config${suffix}.json`);
    if (difference) return difference;
  }
  return undefined;
}

function compareOneImage(testCase, recorded, manifest, blob, configName) {
  if (manifest.mediaType !== recorded.manifestMediaType) return `manifest type ${manifest.mediaType}`;
  const varies = recorded.layers.some((layer) => layer.varies);
  const config = blob(manifest.config.digest);
  const wanted = testCase.bytes(configName);
  const contents = testCase.recorded("image.json").contents ?? {};
  for (const [i, layer] of recorded.layers.entries()) {
    const got = manifest.layers[i];
    if (!got) return `layer ${i} is missing`;
    const listing = listLayer(blob(got.digest));
    if (layer.varies) continue;
    if (got.mediaType !== layer.mediaType)
      return `layer ${i}: type ${got.mediaType}, want ${layer.mediaType}`;
    if (listing.diffId !== layer.diffID) {
      const plain = (list) => (list ?? []).map(({ mtime, ...entry }) => JSON.stringify(entry)).join("\n");
      return `layer ${i}: diffID ${listing.diffId}, want ${layer.diffID}\ngot\n${plain(listing.entries)}\nwant\n${plain(contents[layer.diffID])}`;
    }
  }
  if (manifest.layers.length !== recorded.layers.length)
    return `${manifest.layers.length} layers, want ${recorded.layers.length}`;
  if (!varies && !config.equals(wanted)) return `config\n want ${wanted}\n got  ${config}`;
  return undefined;
}

/** Not synchronously: the file server of the corpus runs in this process. */
function run(command, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      stdio: ["ignore", "pipe", "pipe"],
      timeout: 60_000,
      killSignal: "SIGKILL",
    });
    let [stdout, stderr] = ["", ""];
    child.stdout.setEncoding("utf8").on("data", (text) => (stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text) => (stderr += text));
    child.once("error", reject).once("close", (status) => resolve({ status, stdout, stderr }));
  });
}

/** The summary at the end; whether it has the block of the failed step is left to chance, as in the recordings. */
function compareOutput(accepted, stderr, mask) {
  const clean = (text) =>
    mask(text)
      .replace(/^\d+\.\d+ /gm, "<TIME> ")
      .replace(/crun|runc run failed/g, "runc run failed");
  const withoutStep = (lines) => {
    const first = lines.indexOf("------");
    return first < 0
      ? lines
      : [...lines.slice(0, first), ...lines.slice(lines.indexOf("------", first + 1) + 1)];
  };
  const all = clean(stderr).trimEnd().split("\n");
  const wanted = accepted.map((lines) => withoutStep(lines).join("\n").trimEnd());
  const tail = wanted.map((text) => withoutStep(all).slice(-text.split("\n").length).join("\n"));
  if (wanted.some((text, i) => text === tail[i])) return undefined;
  return `output\n want ${wanted[0]}\n got  ${tail[0]}`;
}

function commandLine(testCase, inputs, folder) {
  const o = testCase.options ?? {};
  const file = join(inputs.dockerfile, "Dockerfile");
  const args = [join(ROOT, "bin", "bluekiln.js"), "build", "--progress=plain", "-f", file];
  args.push("--state-dir", join(folder, "state"));
  if (o.target) args.push("--target", o.target);
  for (const [key, value] of Object.entries(o.buildArgs ?? {})) args.push("--build-arg", `${key}=${value}`);
  for (const platform of o.platforms ?? []) args.push("--platform", platform);
  return args;
}

async function checkError(testCase, inputs, folder) {
  const recorded = testCase.recorded("error.json");
  const result = await run(process.execPath, [...commandLine(testCase, inputs, folder), inputs.context]);
  if (result.status !== recorded.exitCode) return `exit code ${result.status}, want ${recorded.exitCode}`;
  const message =
    /^ERROR: (failed to build: [\s\S]*)$/m.exec(result.stderr)?.[1]?.trim() ??
    result.stderr.trim().split("\n").pop();
  const mask = (text) => text.replace(/of ref [^\s:]+:/g, "of ref <REF>:");
  const accepted = [recorded.message, ...(recorded.otherMessages ?? [])];
  if (!accepted.includes(mask(message))) return `message\n want ${recorded.message}\n got  ${mask(message)}`;
  return compareOutput([recorded.output, ...(recorded.otherOutputs ?? [])], result.stderr, mask);
}
