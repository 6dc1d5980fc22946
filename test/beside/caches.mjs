// Where the caches differ that both export of one folder, and which steps run again that are found in them: each daemon,
// with nothing of its own left, with what it exported itself, with what the other did, and after files were changed.
import { appendFileSync, lstatSync, lutimesSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { BlobServiceClient, StorageSharedKeyCredential } from "@azure/storage-blob";
import { difference, EPOCH, toldBy } from "./daemons.mjs";
import { random } from "./random.mjs";

const CONTAINER = "beside";
/** Digests of lists of files are others since BuildKit 0.26. */
const READS_LISTS = /[*?[]|--exclude|--parents/;
const NOWHERE = ["--output", "type=oci,dest=/dev/null"];

/** @returns differences by what differs */
export async function compareCaches(daemons, context, { seed, azure, key }) {
  const account = `account_url=${azure},account_name=${accountName(azure)},secret_access_key=${key}`;
  const attributes = (name) => `type=azblob,${account},container=${CONTAINER},prefix=${name}/,name=${seed}`;
  const mode = seed % 3 === 0 ? "min" : "max";
  const names = Object.keys(daemons);
  const both = async (work) => {
    const [ours, theirs] = await Promise.all(names.map(work));
    return { ours, theirs };
  };
  await container(azure, key).createIfNotExists();

  const forget = () => Object.values(daemons).forEach((daemon) => daemon.prune());
  // which of an image's keys are exported depends on what was asked for before
  forget();
  const built = await both((name) =>
    daemons[name].build(context, [...NOWHERE, "--export-cache", `${attributes(name)},mode=${mode}`]),
  );
  const told = { ours: toldBy(built.ours.said), theirs: toldBy(built.theirs.said) };
  if (built.ours.status !== 0 || built.theirs.status !== 0)
    return { error: difference([told.ours.error], [told.theirs.error]) };
  const hidesContents = READS_LISTS.test(context.dockerfile);
  const caches = await both((name) =>
    readCache(container(azure, key), `${name}/manifests/${seed}`, hidesContents),
  );

  const importing = async (cacheOf) => {
    forget();
    const outcomes = await both((name) =>
      daemons[name].build(context, [...NOWHERE, "--import-cache", attributes(cacheOf(name))]),
    );
    return difference(whatRan(outcomes.ours), whatRan(outcomes.theirs));
  };
  const own = await importing((name) => name);
  const others = await importing((name) => names.find((other) => other !== name));
  change(context.folder, seed);
  return {
    records: difference(caches.ours.records, caches.theirs.records),
    layers: difference(caches.ours.layers, caches.theirs.layers),
    own,
    others,
    "own, files changed": await importing((name) => name),
    "others, files changed": await importing((name) => names.find((other) => other !== name)),
  };
}

/** Of an emulator: there its URL says it. */
function accountName(azure) {
  return new URL(azure).pathname.slice(1);
}

function container(azure, key) {
  const credential = new StorageSharedKeyCredential(accountName(azure), key);
  return new BlobServiceClient(azure, credential).getContainerClient(CONTAINER);
}

/**
 * Records with their inputs named by digest, not by position; how many layers there are, and on what they lie.
 * @param hidesContents sources and digests of what was read have no names
 */
async function readCache(from, name, hidesContents) {
  const blob = from.getBlobClient(name);
  if (!(await blob.exists())) return { records: [], layers: [] };
  const { layers = [], records = [] } = JSON.parse(await blob.downloadToBuffer());
  const named = ({ digest, inputs = [], layers: results = [] }) =>
    hidesContents && inputs.length === 0 && results.length === 0 ? "contents" : digest;
  const shown = records.map((record) => [
    named(record),
    (record.inputs ?? []).map((alternatives) =>
      alternatives
        .map(({ selector = "", link }) => `${selector} ${named(records[link])}`)
        .sort()
        .join(),
    ),
    record.layers?.length ?? 0,
  ]);
  const depth = ({ parent = 0 }) => (parent < 0 ? 0 : 1 + depth(layers[parent]));
  return {
    records: shown.map((record) => JSON.stringify(record)).sort(),
    layers: layers.map((layer) => `at depth ${depth(layer)}`).sort(),
  };
}

/** Steps of the build that were not found in a cache. */
function whatRan({ status, said }) {
  if (status !== 0) return [toldBy(said).error];
  return toldBy(said)
    .steps.filter(({ isSource, ran }) => ran && !isSource)
    .map(({ name }) => name.replaceAll(/\[linux\/\S+ /g, "[PLATFORM "))
    .sort();
}

/** A file has other content, everything the same times. */
function change(folder, seed) {
  const files = readdirSync(folder, { recursive: true }).filter(
    (path) => lstatSync(join(folder, path)).isFile() && !path.endsWith("Dockerfile"),
  );
  if (files.length === 0) return;
  const path = join(folder, random(seed).pick(files.sort()));
  appendFileSync(path, "more\n");
  lutimesSync(path, EPOCH, EPOCH);
}
