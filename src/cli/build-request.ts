// Flags to a build request.
import { resolve } from "node:path";
import type { BuildRequest } from "../builder/index.js";
import { parseGitRef, parsePlatform, parseSize, sbomRequest, type NamedContext } from "../frontend/index.js";
import { BuildError, messageOf, parseBool } from "../lib/index.js";
import { parseReference } from "../registry/index.js";
import { resolveLayoutTag } from "../source/index.js";
import { clientArgs } from "./client-args.js";
import type { ParsedFlags } from "./flags.js";
import {
  attributes as fieldsOf,
  parseAnnotation,
  parseCache,
  parseHost,
  parseOutput,
  parsePairs,
  parseSecret,
  parseUlimit,
} from "./specs.js";

/**
 * @param loadFile where an image for a Docker engine is put, if there is to be one
 * @throws BuildError FLAG_INVALID and the like
 */
export async function buildRequest(
  flags: ParsedFlags,
  env: NodeJS.ProcessEnv,
  loadFile: string | undefined,
): Promise<Omit<BuildRequest, "onProgress" | "signal">> {
  const tags = flags.strings("tag");
  for (const tag of tags) checkTag(tag);
  const push = flags.bool("push");
  const texts = flags.strings("output");
  if (push && flags.bool("load"))
    throw new BuildError("FLAG_INVALID", "push and load may not be set together at the moment");
  const outputs = texts.map((text) => parseOutput(text, tags, push));
  if (push && outputs.length === 0) outputs.push(parseOutput("type=image", tags, true));
  if (loadFile !== undefined) outputs.push(parseOutput(`type=docker,dest=${loadFile}`, tags, false));
  for (const { type, attributes } of outputs) {
    if (type === "image" && parseBool(attributes["push"] ?? "") && !attributes["name"])
      throw new BuildError("FLAG_INVALID", "tag is needed when pushing to registry");
  }
  const { contexts, folders, layouts } = await namedContexts(flags.strings("build-context"));
  const shmSize = flags.string("shm-size");
  const network = flags.string("network") || "default";
  if (network !== "default" && network !== "none" && network !== "host")
    throw new BuildError(
      "FLAG_INVALID",
      `network mode "${network}" not supported by buildkit; use default, none or host`,
    );
  const agents = new Map<string, string>();
  for (const text of flags.strings("ssh")) {
    const [id, path] = text.split(/=(.*)/s);
    const socket = path ?? env["SSH_AUTH_SOCK"];
    if (!socket)
      throw new BuildError("FLAG_INVALID", `invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set`);
    agents.set(id!, socket);
  }
  const attests = attestations(flags);
  const sbom = attests.get("sbom");
  return {
    frontend: {
      context: "",
      filename: "Dockerfile",
      hasOwnDockerfile: true,
      target: flags.string("target"),
      buildArgs: clientArgs(env, parsePairs(flags.strings("build-arg"), env)),
      labels: parsePairs(flags.strings("label"), undefined),
      platforms: flags
        .strings("platform")
        .flatMap((text) => text.split(","))
        .map(parsePlatform),
      noCache: flags.bool("no-cache")
        ? true
        : flags.strings("no-cache-filter").flatMap((text) => text.split(",")),
      pull: flags.bool("pull"),
      addHosts: flags.strings("add-host").map(parseHost),
      network,
      shmSize: shmSize === "" ? 0 : parseSize(shmSize),
      ulimits: flags.strings("ulimit").map(parseUlimit),
      cgroupParent: flags.string("cgroup-parent"),
      sbom: sbom && sbomRequest(sbom),
    },
    folders,
    contexts,
    layouts,
    secrets: new Map(flags.strings("secret").map((text) => parseSecret(text, env))),
    agents,
    entitlements: new Set([...flags.strings("allow"), ...(network === "host" ? ["network.host"] : [])]),
    outputs,
    cacheTo: flags.strings("cache-to").map((text) => parseCache("cache-to", text)),
    cacheFrom: flags.strings("cache-from").map((text) => parseCache("cache-from", text)),
    annotations: flags.strings("annotation").map(parseAnnotation),
    provenance: provenanceWish(attests.get("provenance")),
  };
}

function checkTag(tag: string): void {
  try {
    parseReference(tag);
  } catch (cause) {
    throw new BuildError("FLAG_INVALID", `invalid tag "${tag}": ${messageOf(cause)}`, { cause });
  }
}

interface NamedContexts {
  readonly contexts: Readonly<Record<string, NamedContext>>;
  readonly folders: ReadonlyMap<string, string>;
  readonly layouts: ReadonlyMap<string, string>;
}

/** @throws BuildError FLAG_INVALID, OCI_LAYOUT_INVALID */
async function namedContexts(list: readonly string[]): Promise<NamedContexts> {
  const contexts: Record<string, NamedContext> = {};
  const folders = new Map<string, string>();
  const layouts = new Map<string, string>();
  for (const text of list) {
    const at = text.indexOf("=");
    if (at <= 0) throw new BuildError("FLAG_INVALID", `invalid context value: ${text}, expected key=value`);
    const name = text
      .slice(0, at)
      .toLowerCase()
      .replace(/:latest$/, "");
    const value = text.slice(at + 1);
    if (value.startsWith("docker-image://"))
      contexts[name] = { kind: "image", reference: value.slice("docker-image://".length) };
    else if (value.startsWith("oci-layout://")) {
      const { folder, digest } = await layoutImage(value.slice("oci-layout://".length));
      const store = name.replace(/[^a-z0-9]+/g, "-");
      layouts.set(store, folder);
      contexts[name] = { kind: "layout", store, reference: `${store}@${digest}` };
    } else if (/^https?:\/\//.test(value) || parseGitRef(value))
      contexts[name] = { kind: "remote", url: value };
    else if (/^[a-z+-]+:\/\//.test(value))
      throw new BuildError(
        "FLAG_INVALID",
        `build context ${value} is not supported; use a folder, docker-image://, oci-layout://, a git repository or a URL`,
      );
    else {
      contexts[name] = { kind: "local", name };
      folders.set(name, resolve(value));
    }
  }
  return { contexts, folders, layouts };
}

/** "PATH", "PATH:TAG", "PATH@DIGEST", "PATH:TAG@DIGEST" */
async function layoutImage(text: string): Promise<{ folder: string; digest: string }> {
  const [, path, tag = "latest", given] = /^([^@]*?)(?::([^:@/]+))?(?:@(.+))?$/s.exec(text)!;
  const folder = resolve(path!);
  return { folder, digest: given ?? (await resolveLayoutTag(folder, tag)) };
}

/**
 * --attest type=TYPE,..., and short for two of them --sbom=VALUE and --provenance=VALUE; the last of each counts.
 * @throws BuildError FLAG_INVALID
 */
function attestations(flags: ParsedFlags): ReadonlyMap<string, ReadonlyMap<string, string>> {
  const short = ["sbom", "provenance"].flatMap((type) => {
    const text = flags.string(type);
    return text === "" ? [] : [new Map([["type", type], ...attestFields(type, text)])];
  });
  const given = [...flags.strings("attest").map((text) => fieldsOf("attest", text, true)), ...short];
  return new Map(
    given.map((fields) => {
      const type = fields.get("type") ?? "";
      if (type !== "provenance" && type !== "sbom")
        throw new BuildError(
          "FLAG_INVALID",
          `--attest: attestation type must be provenance or sbom, not "${type}"`,
        );
      fields.delete("type");
      return [type, fields];
    }),
  );
}

/** @throws BuildError FLAG_INVALID */
function provenanceWish(fields: ReadonlyMap<string, string> | undefined): BuildRequest["provenance"] {
  if (!fields || fields.get("disabled") === "true") return undefined;
  const mode = fields.get("mode") ?? "max";
  if (mode !== "min" && mode !== "max")
    throw new BuildError("FLAG_INVALID", `--provenance: invalid mode "${mode}"; use min or max`);
  const version = fields.get("version") ?? "v0.2";
  if (version !== "v0.2" && version !== "v1")
    throw new BuildError("FLAG_INVALID", `--provenance: invalid version "${version}"; use v0.2 or v1`);
  return { mode, version, builderId: fields.get("builder-id") ?? "" };
}

/** A truth value, or fields. */
function attestFields(flag: string, text: string): Map<string, string> {
  const value = parseBool(text);
  if (value === undefined) return fieldsOf(flag, text, true);
  return new Map(value ? [] : [["disabled", "true"]]);
}
