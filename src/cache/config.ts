// The attributes of --cache-to and --cache-from, as buildx sends them, to what they mean: which backend, and what is
// exported. Every mistake is answered with the word that mends it.
import { resolve } from "node:path";
import { BuildError, isDigest, messageOf, parseBool, type Digest } from "../lib/index.js";
import { parseReference, withDefaultTag, type Reference, type RegistryClient } from "../registry/index.js";
import { layerFormat, type LayerFormat } from "../snapshot/index.js";
import {
  AZBLOB_ATTRIBUTES,
  AZBLOB_EXPORT_ATTRIBUTES,
  AzblobBackend,
  azblobConfig,
  AzblobPlace,
  type AzblobConfig,
} from "./azblob/index.js";
import { DiskStore, LocalBackend, type LocalCacheFolder, type OciStore } from "./local/index.js";
import type { OciCacheForm } from "./oci.js";
import { RegistryBackend } from "./registry/index.js";
import type { CacheSource, CacheTarget, CacheTraffic, CorruptBlobs } from "./types.js";

type Attributes = ReadonlyMap<string, string>;
type Environment = Readonly<Record<string, string | undefined>>;

export type CachePlace =
  | { readonly type: "azblob"; readonly config: AzblobConfig }
  | { readonly type: "registry"; readonly reference: Reference; readonly insecure: boolean }
  | { readonly type: "local"; readonly place: LocalCacheFolder };

export interface CacheImport {
  readonly place: CachePlace;
}

export interface CacheExport {
  /** "inline": into the image's config */
  readonly place: CachePlace | { readonly type: "inline" };
  readonly mode: "min" | "max";
  readonly ignoreError: boolean;
  readonly format: LayerFormat;
  readonly form: OciCacheForm;
}

const EXPORT_ATTRIBUTES = ["mode", "ignore-error", "compression", "compression-level", "force-compression"];
const OCI_ATTRIBUTES = ["oci-mediatypes", "image-manifest"];
const IMPORTS: Readonly<Record<string, readonly string[]>> = {
  azblob: AZBLOB_ATTRIBUTES,
  registry: ["ref", "registry.insecure"],
  local: ["src", "tag", "digest"],
};
const EXPORTS: Readonly<Record<string, readonly string[]>> = {
  azblob: [...AZBLOB_ATTRIBUTES, ...AZBLOB_EXPORT_ATTRIBUTES, ...EXPORT_ATTRIBUTES],
  registry: ["ref", "registry.insecure", ...EXPORT_ATTRIBUTES, ...OCI_ATTRIBUTES],
  local: ["dest", "tag", ...EXPORT_ATTRIBUTES, ...OCI_ATTRIBUTES],
  inline: EXPORT_ATTRIBUTES,
};

/**
 * @param attributes with "type"
 * @throws BuildError CACHE_*, AZBLOB_*, FLAG_INVALID
 */
export function cacheImport(attributes: Attributes, environment: Environment): CacheImport {
  const type = checkedType("cache-from", attributes, IMPORTS);
  return { place: placeOf("cache-from", type, attributes, environment) };
}

/**
 * @param attributes with "type"
 * @throws BuildError CACHE_*, AZBLOB_*, FLAG_INVALID
 */
export function cacheExport(attributes: Attributes, environment: Environment): CacheExport {
  const flag = "cache-to";
  const type = checkedType(flag, attributes, EXPORTS);
  const mode = attributes.get("mode") ?? "min";
  if (mode !== "min" && mode !== "max")
    throw new BuildError("CACHE_MODE_INVALID", `--${flag}: invalid mode "${mode}"; use min or max`);
  const ociMediaTypes = flagOf(flag, attributes, "oci-mediatypes") ?? true;
  const imageManifest = flagOf(flag, attributes, "image-manifest") ?? ociMediaTypes;
  if (imageManifest && !ociMediaTypes) {
    throw new BuildError(
      "FLAG_INVALID",
      "invalid configuration for remote cache: OCI mediatypes are required for image-manifest cache format",
    );
  }
  return {
    place: type === "inline" ? { type } : placeOf(flag, type, attributes, environment),
    mode,
    ignoreError: flagOf(flag, attributes, "ignore-error") ?? false,
    format: layerFormat(attributes),
    form: { imageManifest, ociMediaTypes },
  };
}

function checkedType(
  flag: string,
  attributes: Attributes,
  types: Readonly<Record<string, readonly string[]>>,
): string {
  const type = attributes.get("type") ?? "";
  if (type === "") throw new BuildError("CACHE_TYPE_MISSING", `--${flag}: type is missing; use type=azblob`);
  const allowed = types[type];
  const known = Object.keys(types).join(", ");
  if (!allowed && type === "inline") {
    throw new BuildError(
      "CACHE_TYPE_UNKNOWN",
      `--${flag}: an inline cache is imported with its image: type=registry,ref=IMAGE`,
    );
  }
  if (!allowed) {
    const what = flag === "cache-to" ? "exporter" : "importer";
    throw new BuildError(
      "CACHE_TYPE_UNKNOWN",
      ["gha", "s3"].includes(type)
        ? `--${flag}: cache type "${type}" is not supported yet; use ${known}`
        : `--${flag}: unknown cache ${what}: "${type}"; use ${known}`,
    );
  }
  for (const key of attributes.keys()) {
    if (key !== "type" && !allowed.includes(key)) {
      throw new BuildError(
        "CACHE_ATTRIBUTE_UNKNOWN",
        `--${flag}: unknown parameter "${key}" for type=${type}; known are ${["type", ...allowed].join(", ")}`,
      );
    }
  }
  return type;
}

function flagOf(flag: string, attributes: Attributes, key: string): boolean | undefined {
  const text = attributes.get(key);
  if (text === undefined) return undefined;
  const value = parseBool(text);
  if (value === undefined)
    throw new BuildError("FLAG_INVALID", `--${flag}: invalid ${key} "${text}"; use true or false`);
  return value;
}

function placeOf(flag: string, type: string, attributes: Attributes, environment: Environment): CachePlace {
  if (type === "azblob") return { type, config: azblobConfig(attributes, environment) };
  const verb = flag === "cache-to" ? "exporter" : "importer";
  if (type === "registry") {
    const insecure = flagOf(flag, attributes, "registry.insecure") ?? false;
    return { type, reference: referenceOf(verb, attributes.get("ref") ?? ""), insecure };
  }
  const key = flag === "cache-to" ? "dest" : "src";
  const folder = attributes.get(key) ?? "";
  if (folder === "") throw new BuildError("FLAG_INVALID", `local cache ${verb} requires ${key}`);
  return {
    type: "local",
    place: { folder: resolve(folder), tag: attributes.get("tag") || "latest", digest: digestOf(attributes) },
  };
}

function referenceOf(verb: string, text: string): Reference {
  if (text === "") throw new BuildError("FLAG_INVALID", `registry cache ${verb} requires ref`);
  try {
    return withDefaultTag(parseReference(text));
  } catch (cause) {
    throw new BuildError("FLAG_INVALID", `registry cache ${verb}: "${text}": ${messageOf(cause)}`, { cause });
  }
}

function digestOf(attributes: Attributes): Digest | undefined {
  const text = attributes.get("digest");
  if (text === undefined || text === "") return undefined;
  if (!isDigest(text))
    throw new BuildError("FLAG_INVALID", `local cache importer: "${text}" is not a digest`);
  return text;
}

export interface CachePlacesOptions {
  /** what is remembered of a place, which a URL names */
  readonly corrupt?: (place: string) => CorruptBlobs;
  /** folders of the client, where that is not this process */
  readonly openLocal?: ((folder: string) => OciStore) | undefined;
}

/** The caches of one build: what it learns of a container for one of them, the others know too. */
export class CachePlaces {
  readonly #registry: RegistryClient;
  readonly #openLocal: (folder: string) => OciStore;
  readonly #corrupt: (place: string) => CorruptBlobs;
  readonly #containers = new Map<string, AzblobPlace>();

  constructor(registry: RegistryClient, options: CachePlacesOptions = {}) {
    this.#registry = registry;
    this.#corrupt = options.corrupt ?? (() => new Set());
    this.#openLocal = options.openLocal ?? ((folder) => new DiskStore(folder));
  }

  /** @param form of interest to exports alone */
  open(
    place: CachePlace,
    form: OciCacheForm = { imageManifest: true, ociMediaTypes: true },
  ): CacheSource & CacheTarget {
    switch (place.type) {
      case "azblob":
        return new AzblobBackend(place.config, this.#container(place.config));
      case "registry":
        if (place.insecure) this.#registry.allowInsecure(place.reference.domain);
        return new RegistryBackend(place.reference, this.#registry, form);
      case "local":
        return new LocalBackend(place.place, this.#openLocal(place.place.folder), form);
    }
  }

  /** What has been moved so far, by container. */
  traffic(): Readonly<Record<string, CacheTraffic>> {
    const entries = [...this.#containers.values()].map(({ container }) => {
      const { stats, retries, url } = container;
      return [url, { ...stats, retries: retries.used }] as const;
    });
    return Object.fromEntries(entries);
  }

  #container(config: AzblobConfig): AzblobPlace {
    const key = AzblobPlace.key(config);
    let known = this.#containers.get(key);
    if (!known) {
      const { accountUrl, container, prefix, blobsPrefix } = config;
      known = new AzblobPlace(config, this.#corrupt([accountUrl, container, prefix, blobsPrefix].join("/")));
      this.#containers.set(key, known);
    }
    return known;
  }
}

/** Milliseconds that reading or writing a cache may take; `undefined`: no limit. */
export function timeoutOf(place: CachePlace): number | undefined {
  return place.type === "azblob" ? place.config.timeout : undefined;
}
