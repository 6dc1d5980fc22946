// The image config while instructions change it. Field order is Go's struct order (Docker's image spec), because the
// bytes of `config` reach the image unchanged.
import { defaultPath, goJson, sorted, type GoValue } from "../../../lib/index.js";
import type { Platform } from "../../../llb/index.js";
import type { Healthcheck } from "../instructions/index.js";
import { normalizePlatform } from "./platform.js";

export interface History {
  readonly created?: string;
  readonly created_by?: string;
  readonly author?: string;
  readonly comment?: string;
  readonly empty_layer?: boolean;
}

export interface ContainerConfig {
  User?: string;
  ExposedPorts?: Record<string, object>;
  Env?: string[];
  Entrypoint?: string[] | null;
  Cmd?: string[] | null;
  Volumes?: Record<string, object>;
  WorkingDir?: string;
  Labels?: Record<string, string>;
  StopSignal?: string;
  ArgsEscaped?: boolean;
  Healthcheck?: Healthcheck;
  OnBuild?: string[];
  StopTimeout?: number;
  Shell?: string[];
}

export interface ImageConfig {
  author?: string;
  created?: string;
  architecture: string;
  variant?: string;
  os: string;
  "os.version"?: string;
  "os.features"?: string[];
  rootfs: { type: string; diff_ids: string[] | null };
  history: History[];
  config: ContainerConfig;
}

export function emptyImage(platform: Platform): ImageConfig {
  return {
    architecture: platform.Architecture,
    ...(platform.Variant !== undefined && platform.Variant !== "" && { variant: platform.Variant }),
    os: platform.OS,
    ...(platform.OSVersion && { "os.version": platform.OSVersion }),
    ...(platform.OSFeatures?.length && { "os.features": [...platform.OSFeatures] }),
    rootfs: { type: "layers", diff_ids: null },
    history: [],
    config: {
      // Windows has its own
      ...(platform.OS !== "windows" && { Env: [`PATH=${defaultPath(platform.OS)}`] }),
      WorkingDir: "/",
    },
  };
}

/**
 * Says what an image is for, normalized.
 * @param wanted `undefined`: what it is; of what it leaves open, an image of the same system and architecture keeps its own
 */
export function setPlatform(image: ImageConfig, wanted: Platform | undefined): void {
  const { os, architecture, variant, "os.version": version, "os.features": features } = image;
  const isSame = !wanted || (wanted.OS === os && wanted.Architecture === architecture);
  const kept = isSame ? { variant, version } : undefined;
  const platform = normalizePlatform({
    OS: wanted?.OS ?? os,
    Architecture: wanted?.Architecture ?? architecture,
    Variant: wanted?.Variant || (kept?.variant ?? ""),
    OSVersion: wanted?.OSVersion || (kept?.version ?? ""),
    OSFeatures: wanted?.OSFeatures ?? features ?? [],
  });
  image.os = platform.OS;
  image.architecture = platform.Architecture;
  image.variant = platform.Variant ?? "";
  image["os.version"] = platform.OSVersion ?? "";
  image["os.features"] = [...(platform.OSFeatures ?? [])];
}

/** A base image's config: what Docker's image spec knows of it, without its creation time. */
export function parseImageConfig(data: Uint8Array): ImageConfig {
  const json = JSON.parse(Buffer.from(data).toString()) as Partial<ImageConfig>;
  const config: ContainerConfig = { ...json.config };
  return {
    ...(json.author !== undefined && { author: json.author }),
    architecture: json.architecture ?? "",
    ...(json.variant !== undefined && { variant: json.variant }),
    os: json.os ?? "",
    ...(json["os.version"] !== undefined && { "os.version": json["os.version"] }),
    ...(json["os.features"] !== undefined && { "os.features": json["os.features"] }),
    rootfs: json.rootfs ?? { type: "layers", diff_ids: null },
    history: [...(json.history ?? [])],
    config,
  };
}

/** What instructions change in place is copied, the rest shared: there may be thousands of stages. */
export function cloneImage(image: ImageConfig): ImageConfig {
  const { config } = image;
  return {
    ...image,
    history: [...image.history],
    config: {
      ...config,
      ...(config.Labels && { Labels: { ...config.Labels } }),
      ...(config.ExposedPorts && { ExposedPorts: { ...config.ExposedPorts } }),
      ...(config.Volumes && { Volumes: { ...config.Volumes } }),
    },
  };
}

/** Sets a key of a map of the config in place, whatever its name: "__proto__" is one as any other. */
export function setKey<T>(map: Record<string, T> | undefined, key: string, value: T): Record<string, T> {
  const target = map ?? {};
  return Object.defineProperty(target, key, { value, enumerable: true, configurable: true, writable: true });
}

/** The bytes BuildKit's frontend hands to the exporter. */
export function encodeImageConfig(image: ImageConfig): string {
  return goJson({
    created: image.created,
    author: nonEmpty(image.author),
    architecture: image.architecture,
    "os.version": nonEmpty(image["os.version"]),
    "os.features": image["os.features"]?.length ? image["os.features"] : undefined,
    os: image.os,
    variant: nonEmpty(image.variant),
    rootfs: { type: image.rootfs.type, diff_ids: image.rootfs.diff_ids },
    history: image.history.length > 0 ? image.history.map(encodeHistory) : undefined,
    config: encodeContainerConfig(image.config),
  });
}

export function encodeHistory(entry: History): GoValue {
  return {
    created: entry.created,
    created_by: nonEmpty(entry.created_by),
    author: nonEmpty(entry.author),
    comment: nonEmpty(entry.comment),
    empty_layer: entry.empty_layer === true ? true : undefined,
  };
}

function encodeContainerConfig(config: ContainerConfig): GoValue {
  const check = config.Healthcheck;
  return {
    User: nonEmpty(config.User),
    ExposedPorts: nonEmptyMap(config.ExposedPorts),
    Env: config.Env?.length ? config.Env : undefined,
    Entrypoint: config.Entrypoint?.length ? config.Entrypoint : undefined,
    Cmd: config.Cmd?.length ? config.Cmd : undefined,
    Volumes: nonEmptyMap(config.Volumes),
    WorkingDir: nonEmpty(config.WorkingDir),
    Labels: nonEmptyMap(config.Labels),
    StopSignal: nonEmpty(config.StopSignal),
    ArgsEscaped: config.ArgsEscaped === true ? true : undefined,
    Healthcheck: check && {
      Test: check.Test.length > 0 ? check.Test : undefined,
      Interval: check.Interval || undefined,
      Timeout: check.Timeout || undefined,
      StartPeriod: check.StartPeriod || undefined,
      StartInterval: check.StartInterval || undefined,
      Retries: check.Retries || undefined,
    },
    OnBuild: config.OnBuild?.length ? config.OnBuild : undefined,
    StopTimeout: config.StopTimeout,
    Shell: config.Shell?.length ? config.Shell : undefined,
  };
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === "" ? undefined : text;
}

function nonEmptyMap<T extends string | object>(map: Readonly<Record<string, T>> | undefined): GoValue {
  return map && Object.keys(map).length > 0 ? (sorted(map) as GoValue) : undefined;
}
