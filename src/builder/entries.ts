// Outputs and caches as they are asked for, to what they mean here.
import { cacheExport, cacheImport, type CacheExport, type CacheImport } from "../cache/index.js";
import { BuildError } from "../lib/index.js";
import { FORMAT_ATTRIBUTES } from "../snapshot/index.js";
import { checkDestination } from "./destination.js";
import { imageOptions, outputFlag } from "./image-options.js";
import type { BuildRequest, Destination, Entry, Output } from "./types.js";

type Environment = Readonly<Record<string, string | undefined>>;

const OUTPUT_TYPES = ["image", "oci", "docker", "local", "tar"];

/** The last ones are of stores of images, which are not kept here. */
const OUTPUT_ATTRIBUTES: readonly string[] = [
  "dest",
  "name",
  "push",
  "rewrite-timestamp",
  "oci-mediatypes",
  "registry.insecure",
  "tar",
  "source-date-epoch",
  "push-by-digest",
  "dangling-name-prefix",
  "oci-artifact",
  "platform-split",
  "attestation-prefix",
  "name-canonical",
  "store",
  "unpack",
  ...FORMAT_ATTRIBUTES,
];

/**
 * @param defaultEpoch SOURCE_DATE_EPOCH where the output has none of its own
 * @throws BuildError OUTPUT_INVALID, ANNOTATION_INVALID
 */
export function outputOf({ type, attributes }: Entry, dest: Destination, defaultEpoch = ""): Output {
  const epoch = epochOf(attributes["source-date-epoch"] ?? defaultEpoch);
  const map = new Map(Object.entries(attributes));
  const names = attributes["name"] ? attributes["name"].split(",") : [];
  const flag = (key: string): boolean => (map.get(key) === "" ? true : (outputFlag(map, key) ?? false));
  switch (type) {
    case "image":
      return {
        kind: type,
        names,
        danglingPrefix: attributes["dangling-name-prefix"] ?? "",
        push: flag("push"),
        epoch,
        byDigest: flag("push-by-digest"),
        insecure: flag("registry.insecure"),
        image: imageOptions(map),
      };
    case "oci":
    case "docker":
      return { kind: type, names, dest, epoch, isTar: map.get("tar") !== "false", image: imageOptions(map) };
    case "local":
    case "tar":
      return {
        kind: type,
        dest,
        epoch,
        platformSplit: outputFlag(map, "platform-split"),
        attestationPrefix: attributes["attestation-prefix"] ?? "",
      };
    default:
      throw new BuildError("OUTPUT_INVALID", `exporter "${type}" could not be found`);
  }
}

/** @throws BuildError OUTPUT_INVALID */
function epochOf(text: string): number | undefined {
  if (text === "") return undefined;
  if (!/^[+-]?\d+$/.test(text))
    throw new BuildError(
      "OUTPUT_INVALID",
      `invalid source-date-epoch: strconv.ParseInt: parsing ${JSON.stringify(text)}: invalid syntax`,
    );
  return Number(text);
}

export function cacheExportOf({ type, attributes }: Entry, environment: Environment): CacheExport {
  return cacheExport(new Map([["type", type], ...Object.entries(attributes)]), environment);
}

export function cacheImportOf({ type, attributes }: Entry, environment: Environment): CacheImport {
  return cacheImport(new Map([["type", type], ...Object.entries(attributes)]), environment);
}

/** What a request of this process means. */
export interface Entries {
  readonly outputs: readonly Output[];
  readonly cacheTo: readonly CacheExport[];
  readonly cacheFrom: readonly CacheImport[];
}

type EntriesRequest = Pick<BuildRequest, "outputs" | "cacheTo" | "cacheFrom"> & {
  readonly frontend: Pick<BuildRequest["frontend"], "buildArgs">;
};

/**
 * Reads what would fail a build before it begins.
 * @throws BuildError OUTPUT_INVALID, CACHE_*, AZBLOB_*, FLAG_INVALID
 */
export function entriesOf(
  { outputs, cacheTo, cacheFrom, frontend }: EntriesRequest,
  environment: Environment = process.env,
): Entries {
  for (const { type, attributes } of outputs) {
    if (!OUTPUT_TYPES.includes(type))
      throw new BuildError(
        "OUTPUT_INVALID",
        `unsupported output type "${type}"; use image, registry, oci, docker, local or tar`,
      );
    for (const key of Object.keys(attributes))
      if (!OUTPUT_ATTRIBUTES.includes(key))
        throw new BuildError("OUTPUT_INVALID", `--output: unknown attribute "${key}" for type=${type}`);
    const { dest = "", tar } = attributes;
    const isFolder = type === "local" || (type !== "tar" && tar === "false");
    if (type !== "image" && dest !== "" && dest !== "-")
      checkDestination(dest, isFolder ? "directory" : "file");
  }
  const epoch = frontend.buildArgs["SOURCE_DATE_EPOCH"];
  return {
    outputs: outputs.map((entry) => outputOf(entry, entry.attributes["dest"] || "-", epoch)),
    cacheTo: cacheTo.map((entry) => cacheExportOf(entry, environment)),
    cacheFrom: cacheFrom.map((entry) => cacheImportOf(entry, environment)),
  };
}
