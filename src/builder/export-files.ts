// Results as files: a folder or a tar file, here or of a client.
import { createHash } from "node:crypto";
import { createReadStream, existsSync, readdirSync } from "node:fs";
import { mkdir, mkdtemp, rm, utimes, writeFile } from "node:fs/promises";
import { basename, dirname, extname, join, relative, resolve } from "node:path";
import { pipeline } from "node:stream/promises";
import { statement, type Predicate, type Subject } from "../exporter/index.js";
import { formatPlatform } from "../frontend/index.js";
import { BuildError, goJsonIndent } from "../lib/index.js";
import type { Step } from "../progress/index.js";
import { destinationError } from "./destination.js";
import type { Engine } from "./engine.js";
import type { PlatformResult } from "./make-image.js";
import type { Epoch, ExportRequest, FilesOutput } from "./types.js";

export interface FileResults {
  readonly results: readonly PlatformResult[];
  /** what is said of each */
  readonly predicates: readonly (readonly Predicate[])[];
  readonly multiPlatform: boolean;
}

/** @throws BuildError OUTPUT_INVALID */
export async function exportFiles(
  engine: Engine,
  { signal }: ExportRequest,
  output: FilesOutput,
  { results, predicates, multiPlatform }: FileResults,
  step: Step,
): Promise<void> {
  const { kind, dest, epoch, platformSplit = multiPlatform } = output;
  const format = kind === "local" ? "folder" : "tar";
  const here = typeof dest === "string" ? (dest === "-" ? dest : resolve(dest)) : undefined;
  if (format === "tar" && here !== undefined && here !== "-") await mkdir(dirname(here), { recursive: true });
  const isPlain = results.length === 1 && !platformSplit && predicates[0]!.length === 0;
  const atDestination = (error: unknown): never => {
    throw here === undefined ? error : destinationError(here, error);
  };
  if (isPlain && here !== undefined)
    return exportTree(engine, results[0]!, here, { format, epoch }, signal).catch(atDestination);
  if (isPlain && typeof dest !== "string" && kind === "local" && epoch === undefined) {
    const layers = await engine.refs.folders(results[0]!.ref, signal);
    const send = (root: string): Promise<void> =>
      step.status("copying files", (moved) => dest.takeFolder(root, moved, signal));
    return engine.worker.show({ kind: "layers", layers }, send, signal);
  }

  // what has parts, or a time of its own, and what a client takes as one file, is made whole first
  const folder = await mkdtemp(join(engine.state.own, "output-"));
  try {
    const content = join(folder, "content");
    const staging = { root: content, time: epoch ?? Date.now() / 1000, output, platformSplit, multiPlatform };
    if (isPlain) await exportTree(engine, results[0]!, content, { format, epoch }, signal);
    else {
      const parts = new Map<string, string>();
      for (const [i, result] of results.entries())
        await stage(engine, staging, result, predicates[i]!, parts, signal);
    }
    const isArchived = isPlain && format === "tar";
    if (here !== undefined || (format === "tar" && !isArchived)) {
      const target = here ?? join(folder, "archive");
      const task = { tree: { kind: "folder", path: content }, target, format, time: undefined } as const;
      await engine.worker.perform("export", task, signal).catch(atDestination);
    }
    if (typeof dest === "string") return;
    const archive = isArchived ? content : join(folder, "archive");
    if (kind === "local")
      await step.status("copying files", (moved) => dest.takeFolder(content, moved, signal));
    else await step.status("sending tarball", () => dest.takeFile(createReadStream(archive), {}, signal));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function exportTree(
  engine: Engine,
  { ref }: PlatformResult,
  target: string,
  {
    format,
    epoch,
    linkRoot,
  }: { readonly format: "folder" | "tar"; readonly epoch: Epoch; readonly linkRoot?: string | undefined },
  signal: AbortSignal,
): Promise<void> {
  const layers = await engine.refs.folders(ref, signal);
  const task = { tree: { kind: "layers", layers }, target, format, time: epoch, linkRoot } as const;
  await engine.worker.perform("export", task, signal);
}

interface Staging {
  readonly root: string;
  /** of the files that are made here; seconds since 1970 */
  readonly time: number;
  readonly output: FilesOutput;
  readonly platformSplit: boolean;
  readonly multiPlatform: boolean;
}

/** One platform's files, and what is said of them. @param parts by path: the platform it is of */
async function stage(
  engine: Engine,
  { root, time, output, platformSplit, multiPlatform }: Staging,
  result: PlatformResult,
  predicates: readonly Predicate[],
  parts: Map<string, string>,
  signal: AbortSignal,
): Promise<void> {
  const platform = formatPlatform(result.platform);
  const named = platform.replaceAll("/", "_");
  const target = platformSplit ? join(root, named) : root;
  const isShared = multiPlatform && !platformSplit;
  const own = isShared ? `${root}-${named}` : target;
  // as BuildKit has it
  const linkRoot = platformSplit ? `/${named}` : undefined;
  await exportTree(engine, result, own, { format: "folder", epoch: output.epoch, linkRoot }, signal);
  const paths = filesOf(own);
  for (const path of isShared ? paths : []) {
    const other = parts.get(path);
    if (other !== undefined)
      throw new BuildError(
        "OUTPUT_INVALID",
        `cannot overwrite ${path} from ${other} with ${platform} when split option is disabled`,
      );
    parts.set(path, platform);
  }
  const self = await Promise.all(paths.map((path) => subjectOf(own, path)));
  if (isShared) {
    const task = {
      tree: { kind: "folder", path: own },
      target,
      format: "folder",
      time: undefined,
    } as const;
    await engine.worker.perform("export", task, signal);
  }
  for (const predicate of predicates) {
    const name = `${output.attestationPrefix}${basename(predicate.file)}`;
    const extension = extname(name);
    const unique = isShared ? `${name.slice(0, name.length - extension.length)}.${named}${extension}` : name;
    const file = join(target, unique);
    if (existsSync(file)) throw new BuildError("OUTPUT_INVALID", `duplicate attestation path name ${unique}`);
    await writeFile(file, goJsonIndent(statement(predicate, self)), { mode: 0o600 });
    await utimes(file, time, time);
  }
}

function filesOf(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
    .sort();
}

async function subjectOf(folder: string, path: string): Promise<Subject> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(join(folder, path)), hash);
  return { name: path, digest: { sha256: hash.digest("hex") } };
}
