// Manifests and layers in a form that can be compared: layers by what is in them, records by what they stand for.
import { createHash } from "node:crypto";
import { gunzipSync } from "node:zlib";
import { TarParser } from "../../../dist/layer/index.js";

const sha256 = (data) => createHash("sha256").update(data).digest("hex");

/** The listing of a layer as the corpus has it, in the order of the tar file, and the digest over it. */
export function listLayer(blob) {
  let data = blob;
  if (blob[0] === 0x1f && blob[1] === 0x8b) data = gunzipSync(blob);
  else if (blob.length >= 4 && blob.readUInt32LE(0) === 0xfd2fb528) data = unzstd(blob);
  const entries = [];
  let current;
  const parser = new TarParser({
    entry(entry) {
      const utf8 = (text) => Buffer.from(text, "latin1").toString("utf8");
      current = {
        name: utf8(entry.name),
        type: entry.type,
        mode: `0${entry.mode.toString(8)}`,
        uid: entry.uid,
        gid: entry.gid,
      };
      if (entry.type === "file") Object.assign(current, { size: entry.size, hash: createHash("sha256") });
      if (entry.type === "symlink" || entry.type === "hardlink") current.linkname = utf8(entry.linkname);
      if (entry.type === "char" || entry.type === "block")
        Object.assign(current, { devmajor: entry.devmajor, devminor: entry.devminor });
      if (entry.xattrs.size > 0) {
        current.xattrs = Object.fromEntries(
          [...entry.xattrs].map(([key, value]) => [key, value.toString("base64")]),
        );
      }
      entries.push(current);
    },
    data: (chunk) => current.hash?.update(chunk),
    end: () => undefined,
  });
  parser.push(data);
  const listing = entries.map(({ hash, size, name, type, mode, uid, gid, ...rest }) => ({
    name,
    type,
    mode,
    uid,
    gid,
    ...(type === "file" && { size, sha256: hash.digest("hex") }),
    ...rest,
  }));
  const sorted = [...listing].sort((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)));
  return {
    diffId: `sha256:${sha256(data)}`,
    entries: listing,
    content: `sha256:${sha256(JSON.stringify(sorted))}`,
  };
}

let fzstd;
export async function loadZstd() {
  fzstd = await import("fzstd");
}
const unzstd = (blob) => Buffer.from(fzstd.decompress(blob));

/** @param layers [{content, diffId?, mediaType, parent}], records as in the manifest */
export function canonical(layers, records) {
  const layerText = layers.map(() => undefined);
  const layer = (i) => {
    if (i === -1) return "";
    layerText[i] ??= sha256(`${layers[i].content} ${layers[i].mediaType} ${layer(layers[i].parent)}`);
    return layerText[i];
  };
  const recordText = records.map(() => undefined);
  const record = (i) => {
    if (recordText[i] === undefined) {
      const { digest, inputs = [], layers: results = [] } = records[i];
      const text = {
        digest,
        inputs: inputs.map((links) =>
          links.map(({ link, selector }) => `${record(link)} ${selector ?? ""}`).sort(),
        ),
        results: results.map((result) => layer(result.layer)).sort(),
      };
      recordText[i] = sha256(JSON.stringify(text));
    }
    return recordText[i];
  };
  return {
    layers: layers.map((entry, i) => ({ id: layer(i), ...entry })),
    records: records.map((entry, i) => ({ id: record(i), ...entry })),
  };
}

/** The first difference between two canonical caches, `undefined` if there is none. */
export function compareCaches(wanted, got) {
  const diff = multisetDiff(wanted.layers, got.layers);
  if (diff) return `layers: ${diff}`;
  for (const layer of wanted.layers) {
    if (!layer.diffID) continue;
    const same = got.layers.filter((other) => other.id === layer.id);
    if (!same.some((other) => other.diffId === layer.diffID))
      return `layer ${layer.content}: diffID ${same[0]?.diffId}, want ${layer.diffID}`;
  }
  const records = multisetDiff(wanted.records, got.records);
  return records && `records: ${records}`;
}

function multisetDiff(wanted, got) {
  const counts = new Map();
  for (const { id } of wanted) counts.set(id, (counts.get(id) ?? 0) + 1);
  for (const entry of got) {
    const count = counts.get(entry.id) ?? 0;
    if (count === 0) return `unexpected ${show(entry)} (want ${wanted.length}, got ${got.length})`;
    counts.set(entry.id, count - 1);
  }
  for (const entry of wanted)
    if (counts.get(entry.id) > 0) return `missing ${show(entry)} (want ${wanted.length}, got ${got.length})`;
  return undefined;
}

function show(entry) {
  return JSON.stringify(entry, (key, value) => (key === "id" || key === "entries" ? undefined : value)).slice(
    0,
    600,
  );
}
