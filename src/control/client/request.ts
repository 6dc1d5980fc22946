// A build request in the words of BuildKit's API: the way back of frontend-attrs.ts and exporters.ts.
import { resolve } from "node:path";
import { DiskStore } from "../../cache/index.js";
import type { Annotation, BuildRequest, Entry } from "../../builder/index.js";
import { formatPlatform, type FrontendRequest, type NamedContext } from "../../frontend/index.js";
import { BuildError, codeOf } from "../../lib/index.js";
import type { Sink } from "./attachables.js";

type Environment = Readonly<Record<string, string | undefined>>;
type Attrs = Readonly<Record<string, string>>;

/** Source of the names: BuildKit's frontend/dockerfile/docs and the requests of buildx 0.29. */
export function frontendAttrs({ frontend, contexts, provenance }: BuildRequest): Record<string, string> {
  const { context, filename, hasOwnDockerfile, target, network, shmSize, cgroupParent } = frontend;
  const { buildArgs, labels, platforms, noCache, pull, addHosts, ulimits } = frontend;
  return {
    ...prefixed("build-arg:", buildArgs),
    ...prefixed("label:", labels),
    ...prefixed("context:", Object.fromEntries(Object.entries(contexts).map(contextAttr))),
    ...(context !== "" && { context }),
    ...(context !== "" && hasOwnDockerfile && { dockerfilekey: "dockerfile" }),
    filename,
    ...(target !== "" && { target }),
    ...(platforms.length > 0 && { platform: platforms.map(formatPlatform).join(",") }),
    ...(platforms.length > 1 && { "multi-platform": "true" }),
    ...noCacheAttr(noCache),
    ...(pull && { "image-resolve-mode": "pull" }),
    ...(addHosts.length > 0 && { "add-hosts": addHosts.map(({ host, ip }) => `${host}=${ip}`).join(",") }),
    ...(network !== "default" && { "force-network-mode": network }),
    ...(shmSize > 0 && { "shm-size": String(shmSize) }),
    ...(ulimits.length > 0 && {
      ulimit: ulimits.map(({ Name, Soft, Hard }) => `${Name}=${Soft}:${Hard}`).join(","),
    }),
    ...(cgroupParent !== "" && { "cgroup-parent": cgroupParent }),
    ...(provenance && {
      "attest:provenance": [
        `mode=${provenance.mode}`,
        `version=${provenance.version}`,
        ...(provenance.builderId ? [`builder-id=${provenance.builderId}`] : []),
      ].join(","),
    }),
  };
}

function prefixed(prefix: string, values: Attrs): Record<string, string> {
  return Object.fromEntries(Object.entries(values).map(([key, value]) => [prefix + key, value]));
}

function noCacheAttr(noCache: FrontendRequest["noCache"]): Attrs {
  if (typeof noCache === "boolean") return noCache ? { "no-cache": "" } : {};
  return noCache.length > 0 ? { "no-cache": noCache.join(",") } : {};
}

function contextAttr([name, context]: [string, NamedContext]): [string, string] {
  switch (context.kind) {
    case "image":
      return [name, `docker-image://${context.reference}`];
    case "local":
      return [name, `local:${context.name}`];
    case "layout":
      return [name, `oci-layout://${context.reference}`];
    case "remote":
      return [name, context.url];
    case "input":
      throw new BuildError("CONTEXT_INVALID", `context ${name}: a graph can't be sent to another builder`);
  }
}

export interface WireEntry {
  readonly Type: string;
  readonly Attrs: Record<string, string>;
}

/** Outputs as the daemon is asked for them, and where each goes here. */
export interface Exporters {
  readonly entries: readonly WireEntry[];
  readonly sinks: readonly (Sink | undefined)[];
  /** outputs that are OCI layouts, by store id */
  readonly stores: ReadonlyMap<string, DiskStore>;
}

/** @throws BuildError OUTPUT_INVALID */
export function exportersOf(request: BuildRequest): Exporters {
  const entries: WireEntry[] = [];
  const sinks: (Sink | undefined)[] = [];
  const stores = new Map<string, DiskStore>();
  const epoch = request.frontend.buildArgs["SOURCE_DATE_EPOCH"];
  for (const { type, attributes } of request.outputs) {
    const { dest = "", ...own } = attributes;
    const path = dest === "" || dest === "-" ? "-" : resolve(dest);
    const annotations = Object.fromEntries(request.annotations.map(annotationAttr));
    const isFiles = type === "local" || type === "tar";
    const all = { ...own, ...(!isFiles && annotations), ...(epoch && { "source-date-epoch": epoch }) };
    entries.push({ Type: type, Attrs: all });
    if ((type === "oci" || type === "docker") && own["tar"] === "false") {
      if (path === "-")
        throw new BuildError("OUTPUT_INVALID", `dest is required for ${type} output without tar`);
      // one name for all: BuildKit's clients can have one output of this kind
      stores.set("export", new DiskStore(path));
      sinks.push(undefined);
    } else if (type === "image") sinks.push(undefined);
    else sinks.push({ kind: type === "local" ? "folder" : "file", dest: path });
  }
  return { entries, sinks, stores };
}

/** "annotation.KEY", "annotation-index.KEY", "annotation-manifest[linux/amd64].KEY" */
function annotationAttr({ on, platform, key, value }: Annotation): [string, string] {
  const scope = on === "manifest" && platform === undefined ? "" : `-${on}`;
  return [`annotation${scope}${platform === undefined ? "" : `[${platform}]`}.${key}`, value];
}

/** Caches as the daemon is asked for them, and those that lie here. */
export interface Caches {
  readonly imports: readonly WireEntry[];
  readonly exports: readonly WireEntry[];
  readonly stores: ReadonlyMap<string, DiskStore>;
  /** the one that is told of the manifest of a cache written here */
  readonly written: { readonly store: DiskStore; readonly tag: string } | undefined;
  /** caches that are not there */
  readonly notes: readonly string[];
}

/** @throws BuildError FLAG_INVALID, CACHE_MANIFEST_INVALID */
export async function cachesOf(
  { cacheFrom, cacheTo }: BuildRequest,
  environment: Environment,
): Promise<Caches> {
  const stores = new Map<string, DiskStore>();
  const notes: string[] = [];
  const imports: WireEntry[] = [];
  for (const { type, attributes } of cacheFrom) {
    if (type !== "local") {
      imports.push(remoteCache({ type, attributes }, environment));
      continue;
    }
    const folder = folderOf(attributes, "src", "importer");
    const store = new DiskStore(folder);
    try {
      const digest = attributes["digest"] || (await store.tagged(attributes["tag"] || "latest"));
      stores.set(`local:${folder}`, store);
      imports.push({ Type: type, Attrs: { ...attributes, src: folder, digest } });
    } catch (error) {
      if (codeOf(error) !== "CACHE_NOT_FOUND") throw error;
      notes.push(`local cache import at ${folder} not found: ${(error as Error).message}`);
    }
  }
  let written: Caches["written"];
  const exports = cacheTo.map(({ type, attributes }): WireEntry => {
    if (type !== "local") return remoteCache({ type, attributes }, environment);
    const folder = folderOf(attributes, "dest", "exporter");
    const store = new DiskStore(folder);
    stores.set(`local:${folder}`, store);
    written = { store, tag: attributes["tag"] || "latest" };
    return { Type: type, Attrs: { ...attributes, dest: folder } };
  });
  return { imports, exports, stores, written, notes };
}

function folderOf(attributes: Attrs, key: string, verb: string): string {
  if (!attributes[key]) throw new BuildError("FLAG_INVALID", `local cache ${verb} requires ${key}`);
  return resolve(attributes[key]);
}

/** GitHub's cache is reached with what its runner gives to this process; others' credentials are the daemon's. */
function remoteCache({ type, attributes }: Entry, environment: Environment): WireEntry {
  const attrs: Record<string, string> = { ...attributes };
  if (type === "gha") {
    const { ACTIONS_CACHE_URL, ACTIONS_RESULTS_URL, ACTIONS_RUNTIME_TOKEN } = environment;
    if (ACTIONS_CACHE_URL) attrs["url"] ??= ACTIONS_CACHE_URL;
    if (ACTIONS_RESULTS_URL) attrs["url_v2"] ??= ACTIONS_RESULTS_URL;
    if (ACTIONS_RUNTIME_TOKEN) attrs["token"] ??= ACTIONS_RUNTIME_TOKEN;
  }
  return { Type: type, Attrs: attrs };
}
