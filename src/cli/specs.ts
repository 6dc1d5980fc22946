// The little languages inside flags: --output, --cache-to, --secret and the like, CSV as buildx parses it.
import type { Annotation, Entry } from "../builder/index.js";
import { formatPlatform, parsePlatform } from "../frontend/index.js";
import { BuildError, messageOf, parseCsv } from "../lib/index.js";
import type { SecretSource } from "../session/index.js";

type Environment = Readonly<Record<string, string | undefined>>;

function csvFields(flag: string, text: string): string[] {
  try {
    return parseCsv(text);
  } catch (cause) {
    throw new BuildError(
      "FLAG_INVALID",
      `invalid value "${redact(text)}" for --${flag}: ${messageOf(cause)}`,
      { cause },
    );
  }
}

/**
 * key=value fields; keys in lower case, unless they become names of variables
 * @throws if one is not, or is given twice
 */
export function attributes(flag: string, text: string, areVariables = false): Map<string, string> {
  const map = new Map<string, string>();
  for (const field of csvFields(flag, text)) {
    const at = field.indexOf("=");
    if (at < 0)
      throw new BuildError(
        "FLAG_INVALID",
        `invalid value ${redact(field)} for --${flag}: fields must be key=value`,
      );
    const name = field.slice(0, at).trim();
    const key = areVariables ? name : name.toLowerCase();
    if (map.has(key)) throw new BuildError("FLAG_INVALID", `--${flag}: ${key} is given twice`);
    map.set(key, field.slice(at + 1));
  }
  return map;
}

/** No key reaches a message. */
export function redact(text: string): string {
  return text
    .replace(/(secret_access_key=)[^,"]*/gi, "$1[redacted]")
    .replace(/(sig=)[^&,"\s]*/gi, "$1[redacted]")
    .replace(/(AccountKey=)[^;,"\s]*/gi, "$1[redacted]");
}

/** A plain word is a reference in a registry. */
function cacheAttributes(flag: string, text: string): Map<string, string> {
  if (text.includes("=")) return attributes(flag, text);
  return new Map([
    ["type", "registry"],
    ["ref", text],
  ]);
}

/** @throws BuildError FLAG_INVALID, CACHE_TYPE_MISSING */
export function parseCache(flag: "cache-to" | "cache-from", text: string): Entry {
  const entry = entryOf(cacheAttributes(flag, text));
  if (entry.type === "")
    throw new BuildError("CACHE_TYPE_MISSING", `--${flag}: type is missing; use type=azblob`);
  return entry;
}

/** @throws BuildError FLAG_INVALID, OUTPUT_INVALID */
export function parseOutput(text: string, tags: readonly string[], push: boolean): Entry {
  const simple = !text.includes("=") && !text.includes(",");
  const { type, attributes: given } = simple
    ? { type: text === "-" ? "tar" : "local", attributes: { dest: text } }
    : entryOf(attributes("output", text));
  const own: Record<string, string> = { ...given };
  if (type === "") throw new BuildError("OUTPUT_INVALID", "type is required for output");
  if (type === "local" && !own["dest"])
    throw new BuildError("OUTPUT_INVALID", "dest is required for local output");
  const isImage = type === "image" || type === "registry";
  if ((isImage || type === "oci" || type === "docker") && !own["name"] && tags.length > 0)
    own["name"] = tags.join(",");
  if (isImage && (push || type === "registry")) own["push"] = "true";
  return { type: isImage ? "image" : type, attributes: own };
}

function entryOf(map: ReadonlyMap<string, string>): Entry {
  const { type = "", ...rest } = Object.fromEntries(map) as Record<string, string>;
  return { type, attributes: rest };
}

/** id=ID[,src=FILE|,env=NAME] */
export function parseSecret(text: string, environment: Environment): readonly [string, SecretSource] {
  const map = attributes("secret", text);
  for (const key of map.keys()) {
    if (!["id", "src", "source", "env", "type"].includes(key))
      throw new BuildError("FLAG_INVALID", `unexpected key '${key}' in '${text}'`);
  }
  const id = map.get("id") ?? "";
  const file = map.get("src") ?? map.get("source");
  const env = map.get("env");
  const type = map.get("type");
  if (type === "env" || env !== undefined) return [id, { kind: "env", name: env ?? file ?? id }];
  if (file !== undefined) return [id, { kind: "file", path: file }];
  return environment[id] !== undefined ? [id, { kind: "env", name: id }] : [id, { kind: "file", path: id }];
}

/** NAME=VALUE, or NAME for the value of the environment; without one the argument is not set */
export function parsePairs(
  list: readonly string[],
  environment: Environment | undefined,
): Record<string, string> {
  const result: Record<string, string> = {};
  for (const text of list) {
    const at = text.indexOf("=");
    if (at >= 0) result[text.slice(0, at)] = text.slice(at + 1);
    else if (environment === undefined) result[text] = "";
    else if (environment[text] !== undefined) result[text] = environment[text];
  }
  return result;
}

/** "key=value", with what it is put on in front: "index:key=value", "manifest[linux/amd64],index:key=value". */
export function parseAnnotation(text: string): Annotation {
  const invalid = (problem: string): BuildError =>
    new BuildError("FLAG_INVALID", `invalid annotation "${text}": ${problem}`);
  const [, scope, platform, key, value] = /^(?:([a-z-]+)(?:\[([^\]]*)\])?:)?([^=]+)=(.*)$/s.exec(text) ?? [];
  if (key === undefined || value === undefined) throw invalid("expected key=value");
  if (scope === undefined) return { on: "manifest", platform: undefined, key, value };
  if (scope !== "manifest" && scope !== "index" && scope !== "manifest-descriptor")
    throw invalid(`unknown annotation type "${scope}"`);
  if (scope === "index" && platform !== undefined) throw invalid("an index has no platform");
  const normal = platform === undefined ? undefined : formatPlatform(parsePlatform(platform));
  return { on: scope, platform: normal, key, value };
}

export function parseUlimit(text: string): { Name: string; Soft: number; Hard: number } {
  const match = /^(\w+)=(-?\d+)(?::(-?\d+))?$/.exec(text);
  if (!match) throw new BuildError("FLAG_INVALID", `invalid ulimit argument: ${text}`);
  return { Name: match[1]!, Soft: Number(match[2]), Hard: Number(match[3] ?? match[2]) };
}

/** HOST:IP or HOST=IP */
export function parseHost(text: string): { host: string; ip: string } {
  const at = text.search(/[:=]/);
  if (at <= 0 || at === text.length - 1) throw new BuildError("FLAG_INVALID", `invalid host ${text}`);
  return { host: text.slice(0, at), ip: text.slice(at + 1).replace(/^\[(.*)\]$/, "$1") };
}
