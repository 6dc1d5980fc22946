// Whether a state folder is sound: everything that the database says is true, and nothing lies around that it does not
// know. Rubbish that a killed process left is no fault: the next build or prune removes it.
import { createHash } from "node:crypto";
import { createReadStream, existsSync, lstatSync, readFileSync, readlinkSync } from "node:fs";
import { basename, join, relative } from "node:path";
import type { Digest } from "../lib/index.js";
import { layerFiles, layerPath, type LayerRecord } from "../snapshot/index.js";
import type { PruneParts } from "./store.js";

export interface CheckReport {
  readonly layers: number;
  readonly records: number;
  readonly blobs: number;
  readonly cacheMounts: number;
  /** what is wrong */
  readonly problems: readonly string[];
  /** what the next removal takes */
  readonly rubbish: readonly string[];
}

/** @param contents also read every blob and compare its digest */
export async function checkStore(
  parts: PruneParts,
  { contents }: { readonly contents: boolean },
): Promise<CheckReport> {
  const { database, refs, records, state, mounts } = parts;
  const problems: string[] = [];
  const rubbish: string[] = [];
  const found = database.transaction(() => {
    const layers = new Map([...refs.table.all()].map(({ id, record }) => [id, record]));
    for (const [id, record] of layers) problems.push(...layerProblems(parts, id, record, layers));
    for (const { chainId, id } of refs.table.chains())
      if (!layers.has(id)) problems.push(`chain ${chainId} names layer ${id}, which is not there`);
    problems.push(...records.problems());
    for (const path of layerFiles(state.root))
      if (!layers.has(Number(basename(path))))
        rubbish.push(`${relative(state.root, path)} belongs to no layer`);
    return { layers: layers.size, records: records.count() };
  });
  const blobs = parts.blobs.list();
  if (contents) {
    for (const { digest } of blobs) {
      const actual = await digestOfFile(parts.blobs.path(digest));
      if (actual !== digest) problems.push(`blob ${digest} has another content: ${actual}`);
    }
  }
  for (const folder of state.abandoned()) rubbish.push(`${folder} was left by a process that has died`);
  problems.push(...leftMounts(state.root, new Set(state.abandoned())));
  const cacheMounts = mounts.list().length;
  return { ...found, blobs: blobs.length, cacheMounts, problems, rubbish };
}

function layerProblems(
  { state, blobs }: PruneParts,
  id: number,
  { parent, origin, blob, variants = [] }: LayerRecord,
  layers: ReadonlyMap<number, LayerRecord>,
): string[] {
  const problems: string[] = [];
  for (const below of [parent, origin]) {
    if (below !== undefined && !layers.has(below))
      problems.push(`layer ${id} stands on layer ${below}, which is not there`);
    if (below !== undefined && below >= id)
      problems.push(`layer ${id} stands on layer ${below}, which came later`);
  }
  const path = join(state.root, layerPath(id));
  if (origin !== undefined && lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink()) {
    if (readlinkSync(path) !== String(origin)) problems.push(`layer ${id} is not what layer ${origin} is`);
  }
  for (const descriptor of blob ? [blob, ...variants] : variants) {
    const { digest, size } = descriptor;
    if (blobs.has(digest) && blobs.size(digest) !== size)
      problems.push(`blob ${digest} of layer ${id} has ${blobs.size(digest)} bytes instead of ${size}`);
  }
  return problems;
}

/** Mounts below the folder in our own namespace: a build's are in namespaces that die with it. */
function leftMounts(root: string, abandoned: ReadonlySet<string>): string[] {
  const lines = readFileSync("/proc/self/mounts", "utf8").split("\n");
  const targets = lines.map((line) => (line.split(" ")[1] ?? "").replaceAll("\\040", " "));
  return targets
    .filter((target) => target.startsWith(`${root}/`) && existsSync(target))
    .map((target) => {
      const left = [...abandoned].some((folder) => target.startsWith(`${folder}/`));
      return `${target} is mounted${left ? ", though the process that did so has died" : ""}`;
    });
}

async function digestOfFile(path: string): Promise<Digest> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  return `sha256:${hash.digest("hex")}` as Digest;
}
