// What a client asks of the Dockerfile frontend, from the attributes that buildx and buildctl send.
// Source of the names: BuildKit's frontend/dockerfile/docs and the requests of buildx 0.29.
import { isIP } from "node:net";
import type { CacheImport } from "../cache/index.js";
import {
  parsePlatform,
  parseSize,
  sbomRequest,
  type FrontendRequest,
  type NamedContext,
  type SbomRequest,
} from "../frontend/index.js";
import type { Definition as DefinitionMessage } from "./gen/buildkit/ops_pb.js";
import { definitionOf } from "./llb.js";
import { cacheImportOf, type ProvenanceRequest } from "../builder/index.js";
import { redactAttrs } from "./redact.js";
import { BuildError, parseBool, parseCsv, wrapError } from "../lib/index.js";
import type { Definition, Platform } from "../llb/index.js";

type Attrs = Readonly<Record<string, string>>;
/** Graphs that the frontend is given, by name. */
type Inputs = Readonly<Record<string, DefinitionMessage>>;

/** @throws BuildError FRONTEND_ATTRIBUTE_INVALID, LLB_INVALID */
export function frontendRequest(
  attrs: Attrs,
  inputs: Inputs,
  sessionId: string,
): Omit<FrontendRequest, "buildPlatform"> {
  const context = attrs["context"] ?? "";
  const dockerfileName = attrs["dockerfilekey"];
  const isGiven = (name: string): boolean => context === "" && name in inputs;
  const network = attrs["force-network-mode"] || "default";
  if (network !== "default" && network !== "none" && network !== "host" && network !== "sandbox")
    throw invalid(`invalid netmode ${network}`);
  return {
    context,
    filename: attrs["filename"] || "Dockerfile",
    hasOwnDockerfile: context === "" || dockerfileName !== undefined,
    target: attrs["target"] ?? "",
    buildArgs: prefixed(attrs, "build-arg:"),
    labels: prefixed(attrs, "label:"),
    platforms: fields(attrs["platform"]).map(targetPlatform),
    multiPlatform: attrs["multi-platform"],
    noCache: attrs["no-cache"] === undefined ? [] : attrs["no-cache"] === "" || fields(attrs["no-cache"]),
    pull: attrs["image-resolve-mode"] === "pull",
    contexts: namedContexts(attrs, inputs),
    addHosts: fields(attrs["add-hosts"]).map((text) => {
      const [host, ip] = text.toLowerCase().split(/=(.*)/s);
      if (ip === undefined) throw invalid(`invalid key-value pair ${text}`);
      if (!isIP(ip)) throw invalid(`failed to parse IP ${ip}`);
      return { host: host!, ip };
    }),
    network: network === "sandbox" ? "default" : network,
    shmSize: attrs["shm-size"] ? parseSize(attrs["shm-size"]) : 0,
    ulimits: fields(attrs["ulimit"]).map((text) => {
      const [, name, soft, hard] = /^(\w+)=(-?\d+)(?::(-?\d+))?$/.exec(text) ?? [];
      if (name === undefined) throw invalid(`invalid ulimit argument: ${text}`);
      return { Name: name, Soft: Number(soft), Hard: Number(hard ?? soft) };
    }),
    cgroupParent: attrs["cgroup-parent"] ?? "",
    hostname: attrs["hostname"] ?? "",
    sbom: sbomOf(attrs),
    sessionId,
    localSessions: prefixed(attrs, "local-sessionid:"),
    given: {
      ...(isGiven("context") && { context: graphOf(inputs, "context") }),
      // a client that names its folder wants it read
      ...(isGiven("dockerfile") &&
        dockerfileName === undefined && { dockerfile: graphOf(inputs, "dockerfile") }),
      contextName: attrs["contextkey"],
      dockerfileName,
      subdir: attrs["contextsubdir"],
    },
  };
}

interface CacheEntry {
  readonly Type: string;
  readonly Attrs?: Attrs;
}

/**
 * Caches to import: those of the request, and those of the frontend, which are JSON as BuildKit's clients send it.
 * @throws BuildError CACHE_*, AZBLOB_*
 */
export function cacheImports(
  attrs: Attrs,
  environment: Readonly<Record<string, string | undefined>>,
  requested: readonly CacheEntry[] = [],
): readonly CacheImport[] {
  const text = attrs["cache-imports"];
  const references = text ? [] : fields(attrs["cache-from"]);
  const entries = [
    ...requested,
    ...(text ? (JSON.parse(text) as CacheEntry[]) : []),
    ...references.map((ref) => ({ Type: "registry", Attrs: { ref } })),
  ];
  const unique = new Map(entries.map((entry) => [JSON.stringify([entry.Type, entry.Attrs]), entry]));
  return [...unique.values()].map(({ Type, Attrs: own = {} }) =>
    cacheImportOf({ type: Type, attributes: own }, environment),
  );
}

/** @returns `undefined` if nothing is to be scanned @throws BuildError FRONTEND_ATTRIBUTE_INVALID */
export function sbomOf(attrs: Attrs): SbomRequest | undefined {
  const text = attrs["attest:sbom"] ?? attrs["build-arg:BUILDKIT_ATTEST_SBOM"];
  if (text === undefined) return undefined;
  return sbomRequest(
    new Map(fields(text).map((field) => field.split(/=(.*)/s).slice(0, 2) as [string, string])),
  );
}

/** @throws BuildError FRONTEND_ATTRIBUTE_INVALID */
export function provenanceRequest(attrs: Attrs, id: string, startedAt: number): ProvenanceRequest {
  const text = attrs["attest:provenance"] ?? "";
  const options = new Map(fields(text).map((field) => field.split(/=(.*)/s).slice(0, 2) as [string, string]));
  const asked = options.get("mode") ?? "max";
  const mode = asked === "full" ? "max" : asked;
  if (mode !== "min" && mode !== "max") throw invalid(`invalid mode ${mode}`);
  const version = options.get("version") ?? "v0.2";
  if (version !== "v0.2" && version !== "v1") throw invalid(`invalid provenance SLSA version: ${version}`);
  const context = attrs["context"] ?? "";
  return {
    mode,
    version,
    isWanted: attrs["attest:provenance"] !== undefined && options.get("disabled") !== "true",
    isInlineOnly: options.get("inline-only") === "true",
    builderId: options.get("builder-id") ?? "",
    id,
    startedAt,
    frontend: "dockerfile.v0",
    args: redactAttrs(attrs),
    locals: [
      // what it ignores is read in any case
      ...(context === "" ? [attrs["contextkey"] ?? "context"] : []),
      ...(context === "" || attrs["dockerfilekey"] !== undefined
        ? [attrs["dockerfilekey"] ?? "dockerfile"]
        : []),
    ],
  };
}

function targetPlatform(text: string): Platform {
  try {
    return parsePlatform(text);
  } catch (error) {
    throw wrapError(error, "FRONTEND_ATTRIBUTE_INVALID", `failed to parse target platform ${text}`);
  }
}

/** @throws BuildError LLB_INVALID */
function graphOf(inputs: Inputs, name: string): Definition {
  const definition = definitionOf(inputs[name]);
  if (!definition) throw new BuildError("LLB_INVALID", "invalid nil input definition to definition op");
  return definition;
}

function namedContexts(attrs: Attrs, inputs: Inputs): Record<string, NamedContext> {
  const contexts: Record<string, NamedContext> = {};
  for (const [key, value] of Object.entries(prefixed(attrs, "context:"))) {
    const name = key.toLowerCase().replace(/:latest$/, "");
    const [, scheme, rest = ""] = /^([a-z+-]+):(.*)$/s.exec(value) ?? [];
    const reference = rest.replace(/^\/\//, "");
    if (scheme === "docker-image") contexts[name] = { kind: "image", reference };
    else if (scheme === "local") contexts[name] = { kind: "local", name: rest };
    else if (scheme === "oci-layout") {
      contexts[name] = { kind: "layout", store: reference.replace(/[:@].*$/s, ""), reference };
    } else if (scheme === "input") {
      if (!(rest in inputs)) throw invalid(`invalid input ${rest} for ${key}`);
      contexts[name] = {
        kind: "input",
        definition: definitionOf(inputs[rest]),
        config: inputConfig(attrs, rest),
      };
    } else contexts[name] = { kind: "remote", url: value };
  }
  return contexts;
}

/** The config of an input's image, from what its frontend said of it. */
function inputConfig(attrs: Attrs, name: string): string | undefined {
  const text = attrs[`input-metadata:${name}`];
  const metadata = text ? (JSON.parse(text) as Record<string, string>) : {};
  const config = metadata["containerimage.config"];
  return config === undefined ? undefined : Buffer.from(config, "base64").toString();
}

function prefixed(attrs: Attrs, prefix: string): Record<string, string> {
  return Object.fromEntries(
    Object.entries(attrs).flatMap(([key, value]) =>
      key.startsWith(prefix) ? [[key.slice(prefix.length), value]] : [],
    ),
  );
}

function fields(text: string | undefined): string[] {
  return text ? parseCsv(text) : [];
}

export function flag(attrs: Attrs, name: string): boolean | undefined {
  const text = attrs[name];
  if (text === undefined) return undefined;
  const value = text === "" ? true : parseBool(text);
  if (value === undefined) throw invalid(`non-bool value "${text}" specified for ${name}`);
  return value;
}

function invalid(problem: string): BuildError {
  return new BuildError("FRONTEND_ATTRIBUTE_INVALID", problem);
}
