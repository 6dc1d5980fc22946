// The daemon's settings: buildkitd's flags, its TOML file below them.
// Source of the names: BuildKit's docs/buildkitd.toml.md and `buildkitd --help`.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join, resolve } from "node:path";
import { parse } from "smol-toml";
import type { DaemonOptions, HistoryLimits } from "../control/index.js";
import { BuildError, codeOf, messageOf, parseBytes, parseDuration, type GoValue } from "../lib/index.js";
import type { RegistrySettings } from "../registry/index.js";
import type { DnsSettings } from "../executor/index.js";
import type { GcLimits } from "../prune/index.js";
import type { ParsedFlags } from "./flags.js";

type Environment = Readonly<Record<string, string | undefined>>;
type Table = Readonly<Record<string, unknown>>;

const DEFAULT_ADDRESS = "unix:///run/bluekiln/bluekilnd.sock";
const DEFAULT_ROOT = "/var/lib/bluekiln";
const DEFAULT_CONFIG = "/etc/bluekiln/bluekilnd.toml";

/** What is given and taken, but does nothing here. */
const IDLE_FLAGS = [
  "containerd-worker",
  "oci-cni-binary-dir",
  "oci-cni-config-path",
  "oci-worker-apparmor-profile",
  "oci-worker-no-process-sandbox",
  "oci-worker-platform",
  "oci-worker-proxy-snapshotter-path",
  "oci-worker-selinux",
  "otel-socket-path",
  "save-cache-debug",
];
const KNOWN_TABLES = [
  "log",
  "grpc",
  "worker",
  "registry",
  "dns",
  "history",
  "otel",
  "cdi",
  "frontend",
  "system",
];
/** Keys of the file that mean something here; `*` is any name. */
const KEYS = [
  "root",
  "debug",
  "insecure-entitlements",
  "provenanceEnvDir",
  "grpc.address",
  "grpc.gid",
  "grpc.tls.cert",
  "grpc.tls.key",
  "grpc.tls.ca",
  "worker.oci.enabled",
  "worker.oci.binary",
  "worker.oci.labels.*",
  "worker.oci.max-parallelism",
  "worker.oci.gc",
  "worker.oci.gcpolicy",
  "worker.oci.gckeepstorage",
  "worker.oci.reservedSpace",
  "worker.oci.maxUsedSpace",
  "worker.oci.minFreeSpace",
  "worker.containerd.enabled",
  "registry.*.mirrors",
  "registry.*.http",
  "registry.*.insecure",
  "registry.*.ca",
  "registry.*.keypair",
  "dns.nameservers",
  "dns.searchDomains",
  "dns.options",
  "history.maxAge",
  "history.maxEntries",
  "cdi.specDirs",
  "cdi.disabled",
];

export interface DaemonSettings {
  readonly options: DaemonOptions;
  /** what was asked for and cannot be had, a line each */
  readonly notes: readonly string[];
}

/** @throws BuildError FLAG_INVALID, CONFIG_INVALID */
export function daemonSettings(
  flags: ParsedFlags,
  env: Environment,
  log: (text: string) => void,
): DaemonSettings {
  const config = readConfig(flags.string("config"));
  const notes: string[] = [];
  for (const path of pathsOf(config, [])) {
    const [top = ""] = path;
    const isKey = KEYS.some((key) => isPath(key.split("."), path));
    if (!isKey && !KNOWN_TABLES.includes(top) && top !== "trace")
      notes.push(`the configuration's "${path.join(".")}" is not known`);
    else if (!isKey) notes.push(`the configuration's "${path.join(".")}" has no effect`);
  }
  for (const name of IDLE_FLAGS) {
    const isOff = /^(false|0|f)$/i.test(flags.string(name));
    if (flags.has(name) && !isOff) notes.push(`--${name} has no effect`);
  }
  const net = flags.string("oci-worker-net");
  if (!["", "auto", "host"].includes(net)) notes.push(`--oci-worker-net=${net} has no effect: it is host`);
  const grpc = table(config, "grpc");
  const oci = table(table(config, "worker"), "oci");
  const cdi = table(config, "cdi");
  const addresses = flags.has("addr") ? flags.strings("addr") : strings(grpc, "address");
  const entitlements = [
    ...flags.strings("allow-insecure-entitlement"),
    ...strings(config, "insecure-entitlements"),
    // as in buildkitd: which devices there are says enough
    ...(isCdiDisabled(flags, cdi) ? [] : ["device"]),
  ];
  const tls = table(grpc, "tls");
  const cert = flags.string("tlscert") || text(tls, "cert");
  const key = flags.string("tlskey") || text(tls, "key");
  if ((cert === "") !== (key === ""))
    throw new BuildError("FLAG_INVALID", "you must specify key and cert file if one is specified");
  const usesGc = flags.has("oci-worker-gc") ? flags.bool("oci-worker-gc") : oci["gc"] !== false;
  const root = flags.string("root") || text(config, "root") || env["BLUEKILN_STATE_DIR"] || DEFAULT_ROOT;
  const registries = Object.entries(table(config, "registry")) as [string, Table][];
  const labels = Object.fromEntries([
    ...Object.entries(table(oci, "labels")).map(([name, value]) => [name, String(value)]),
    ...flags.strings("oci-worker-labels").map((label) => label.split(/=(.*)/s).slice(0, 2)),
  ]) as Record<string, string>;
  return {
    notes,
    options: {
      engine: {
        stateDir: resolve(root),
        runtime: flags.string("oci-worker-binary") || text(oci, "binary") || env["BLUEKILN_RUNTIME"],
        cdiFolders: cdiFolders(flags, cdi),
        dns: dnsSettings(table(config, "dns")),
        maxParallelism: maxParallelism(flags.string("oci-max-parallelism"), oci["max-parallelism"]),
        gc: usesGc ? gcLimits(oci, flags) : undefined,
      },
      addresses: addresses.length > 0 ? addresses : [DEFAULT_ADDRESS],
      tls:
        cert === ""
          ? undefined
          : { cert, key, ca: flags.string("tlscacert") || text(tls, "ca") || undefined },
      group: groupId(flags.string("group")) ?? (typeof grpc["gid"] === "number" ? grpc["gid"] : undefined),
      entitlements: new Set(entitlements),
      labels,
      registries: new Map(
        registries.map(([name, own]) => [
          name,
          {
            mirrors: strings(own, "mirrors"),
            http: typeof own["http"] === "boolean" ? own["http"] : undefined,
            insecure: own["insecure"] === true,
            ca: strings(own, "ca"),
            keyPairs: keyPairs(own),
          },
        ]),
      ),
      history: historyLimits(table(config, "history")),
      provenanceEnvironment: provenanceEnvironment(text(config, "provenanceEnvDir")),
      environment: env,
      debug: flags.bool("debug") || config["debug"] === true ? log : () => undefined,
      warn: (text) => log(`warning: ${text}`),
    },
  };
}

function readConfig(path: string): Table {
  const file = path || DEFAULT_CONFIG;
  let content: string;
  try {
    content = readFileSync(file, "utf8");
  } catch (error) {
    if (codeOf(error) === "ENOENT" && path === "") return {};
    throw new BuildError("CONFIG_INVALID", `failed to load config from ${file}: ${messageOf(error)}`);
  }
  try {
    return parse(content);
  } catch (error) {
    throw new BuildError("CONFIG_INVALID", `failed to parse config ${file}: ${messageOf(error)}`);
  }
}

/** Where the file has values. */
function pathsOf(value: Table, above: readonly string[]): (readonly string[])[] {
  return Object.entries(value).flatMap(([key, one]) => {
    const path = [...above, key];
    const isTable = typeof one === "object" && one !== null && !Array.isArray(one) && !(one instanceof Date);
    return isTable ? pathsOf(one as Table, path) : [path];
  });
}

function isPath(pattern: readonly string[], path: readonly string[]): boolean {
  return pattern.length === path.length && pattern.every((part, i) => part === "*" || part === path[i]);
}

function table(parent: Table, key: string): Table {
  const value = parent[key];
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Table) : {};
}

function text(parent: Table, key: string): string {
  const value = parent[key];
  return typeof value === "string" ? value : "";
}

function strings(parent: Table, key: string): readonly string[] {
  const value = parent[key];
  return Array.isArray(value) ? value.map(String) : [];
}

/** `[[registry."x".keypair]]` @throws BuildError CONFIG_INVALID */
function keyPairs(registry: Table): RegistrySettings["keyPairs"] {
  const list = registry["keypair"] ?? [];
  if (!Array.isArray(list)) throw new BuildError("CONFIG_INVALID", "keypair of a registry has to be a list");
  return (list as Table[]).map((pair) => ({ key: text(pair, "key"), cert: text(pair, "cert") }));
}

function isCdiDisabled(flags: ParsedFlags, cdi: Table): boolean {
  return flags.bool("cdi-disabled") || cdi["disabled"] === true;
}

function cdiFolders(flags: ParsedFlags, cdi: Table): readonly string[] | undefined {
  if (isCdiDisabled(flags, cdi)) return [];
  const given = flags.has("cdi-spec-dir") ? flags.strings("cdi-spec-dir") : strings(cdi, "specDirs");
  return given.length > 0 ? given : undefined;
}

/** Seconds or a duration, as buildkitd has it. */
function historyLimits({ maxAge, maxEntries }: Table): Partial<HistoryLimits> {
  const age =
    typeof maxAge === "number"
      ? maxAge * 1000
      : typeof maxAge === "string"
        ? parseDuration(maxAge)
        : undefined;
  return {
    ...(age !== undefined && { maxAge: age }),
    ...(typeof maxEntries === "number" && { maxEntries }),
  };
}

/** What all files of a folder say together. @throws BuildError CONFIG_INVALID */
function provenanceEnvironment(folder: string): Record<string, GoValue> {
  if (folder === "" || !existsSync(folder)) return {};
  const files = readdirSync(folder)
    .filter((name) => name.endsWith(".json"))
    .sort();
  const objects = files.map((name) => {
    try {
      return JSON.parse(readFileSync(join(folder, name), "utf8")) as Record<string, GoValue>;
    } catch (cause) {
      throw new BuildError("CONFIG_INVALID", `failed to parse ${name}: ${messageOf(cause)}`, { cause });
    }
  });
  return Object.assign({}, ...objects) as Record<string, GoValue>;
}

/** @returns `undefined` for no bound @throws BuildError FLAG_INVALID */
function maxParallelism(flag: string, configured: unknown): number | undefined {
  const wish = flag || (typeof configured === "number" ? String(configured) : "0");
  const count = wish === "num-cpu" ? availableParallelism() : /^\d+$/.test(wish) ? Number(wish) : undefined;
  if (count === undefined)
    throw new BuildError(
      "FLAG_INVALID",
      `failed to parse oci-max-parallelism, should be positive integer, 0 for unlimited, or 'num-cpu' for setting to the number of CPUs: ${JSON.stringify(wish)}`,
    );
  return count || undefined;
}

function dnsSettings(dns: Table): DnsSettings | undefined {
  if (Object.keys(dns).length === 0) return undefined;
  const [nameservers, searchDomains] = [strings(dns, "nameservers"), strings(dns, "searchDomains")];
  return { nameservers, searchDomains, options: strings(dns, "options") };
}

/** The last policy of buildkitd's list is the one that looks at everything. */
function gcLimits(oci: Table, flags: ParsedFlags): Partial<GcLimits> {
  const policies = oci["gcpolicy"];
  const last = Array.isArray(policies) ? (policies.at(-1) as Table | undefined) : undefined;
  const from = last ?? oci;
  const size = (key: string): number | undefined => {
    const value = from[key];
    return typeof value === "number" ? value : typeof value === "string" ? parseBytes(value) : undefined;
  };
  const legacy = flags.string("oci-worker-gc-keepstorage");
  const reservedSpace = legacy
    ? Number(legacy) * 1e6
    : (size("reservedSpace") ?? size("keepBytes") ?? size("gckeepstorage"));
  const [maxUsedSpace, minFreeSpace] = [size("maxUsedSpace"), size("minFreeSpace")];
  const keep = from["keepDuration"];
  const keepDuration =
    typeof keep === "number" ? keep * 1000 : typeof keep === "string" ? parseDuration(keep) : undefined;
  return {
    ...(reservedSpace !== undefined && { reservedSpace }),
    ...(maxUsedSpace !== undefined && { maxUsedSpace }),
    ...(minFreeSpace !== undefined && { minFreeSpace }),
    ...(keepDuration !== undefined && { keepDuration }),
  };
}

function groupId(name: string): number | undefined {
  if (name === "") return undefined;
  if (/^\d+$/.test(name)) return Number(name);
  const line = readFileSync("/etc/group", "utf8")
    .split("\n")
    .find((entry) => entry.startsWith(`${name}:`));
  if (!line) throw new BuildError("FLAG_INVALID", `group ${name} is not known`);
  return Number(line.split(":")[2]);
}
