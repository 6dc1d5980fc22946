// Flags, as buildx has them: long and short forms, "=" or the next word, boolean flags that take "=false", repeated
// flags.
import { BuildError } from "../lib/index.js";

type FlagKind = "bool" | "string" | "strings";

export interface FlagSet {
  readonly flags: Readonly<Record<string, FlagKind>>;
  /** letter -> flag */
  readonly short: Readonly<Record<string, string>>;
}

const BUILD: FlagSet["flags"] = {
  "add-host": "strings",
  allow: "strings",
  annotation: "strings",
  attest: "strings",
  "build-arg": "strings",
  "build-context": "strings",
  builder: "string",
  "cache-from": "strings",
  "cache-to": "strings",
  call: "string",
  "cgroup-parent": "string",
  check: "bool",
  debug: "bool",
  "debug-llb": "string",
  file: "string",
  help: "bool",
  iidfile: "string",
  label: "strings",
  load: "bool",
  "metadata-file": "string",
  network: "string",
  "no-cache": "bool",
  "no-cache-filter": "strings",
  output: "strings",
  platform: "strings",
  progress: "string",
  provenance: "string",
  pull: "bool",
  push: "bool",
  quiet: "bool",
  runtime: "string",
  sbom: "string",
  secret: "strings",
  "shm-size": "string",
  ssh: "strings",
  "state-dir": "string",
  tag: "strings",
  target: "string",
  ulimit: "strings",
};

export const BUILD_FLAGS: FlagSet = {
  flags: BUILD,
  short: { f: "file", t: "tag", o: "output", q: "quiet", h: "help", D: "debug" },
};

const COMMON: FlagSet["flags"] = { builder: "string", debug: "bool", help: "bool", "state-dir": "string" };

export const DU_FLAGS: FlagSet = {
  flags: { ...COMMON, filter: "strings", verbose: "bool" },
  short: { h: "help", D: "debug" },
};

export const PRUNE_FLAGS: FlagSet = {
  flags: {
    ...COMMON,
    all: "bool",
    filter: "strings",
    force: "bool",
    "keep-storage": "string",
    "max-used-space": "string",
    "min-free-space": "string",
    "reserved-space": "string",
    verbose: "bool",
  },
  short: { a: "all", f: "force", h: "help", D: "debug" },
};

export const DOCTOR_FLAGS: FlagSet = {
  flags: { contents: "bool", debug: "bool", help: "bool", runtime: "string", "state-dir": "string" },
  short: { h: "help", D: "debug" },
};

export const CREATE_FLAGS: FlagSet = {
  flags: {
    append: "bool",
    bootstrap: "bool",
    "buildkitd-config": "string",
    "buildkitd-flags": "string",
    config: "string",
    debug: "bool",
    driver: "string",
    "driver-opt": "strings",
    help: "bool",
    leave: "bool",
    name: "string",
    node: "string",
    platform: "strings",
    use: "bool",
  },
  short: { h: "help", D: "debug" },
};

export const USE_FLAGS: FlagSet = {
  flags: { builder: "string", debug: "bool", default: "bool", global: "bool", help: "bool" },
  short: { h: "help", D: "debug" },
};

export const LS_FLAGS: FlagSet = {
  flags: { debug: "bool", format: "string", help: "bool", "no-trunc": "bool" },
  short: { h: "help", D: "debug" },
};

export const INSPECT_FLAGS: FlagSet = {
  flags: { ...COMMON, bootstrap: "bool" },
  short: { h: "help", D: "debug" },
};

export const RM_FLAGS: FlagSet = {
  flags: {
    "all-inactive": "bool",
    builder: "string",
    debug: "bool",
    force: "bool",
    help: "bool",
    "keep-daemon": "bool",
    "keep-state": "bool",
  },
  short: { f: "force", h: "help", D: "debug" },
};

/** buildkitd's */
export const DAEMON_FLAGS: FlagSet = {
  flags: {
    addr: "strings",
    "allow-insecure-entitlement": "strings",
    "cdi-disabled": "bool",
    "cdi-spec-dir": "strings",
    config: "string",
    "containerd-worker": "bool",
    "containerd-worker-gc": "bool",
    debug: "bool",
    group: "string",
    help: "bool",
    "log-format": "string",
    "oci-cni-binary-dir": "string",
    "oci-cni-config-path": "string",
    "oci-max-parallelism": "string",
    "oci-worker": "bool",
    "oci-worker-apparmor-profile": "string",
    "oci-worker-binary": "string",
    "oci-worker-gc": "bool",
    "oci-worker-gc-keepstorage": "string",
    "oci-worker-labels": "strings",
    "oci-worker-net": "string",
    "oci-worker-no-process-sandbox": "bool",
    "oci-worker-platform": "strings",
    "oci-worker-proxy-snapshotter-path": "string",
    "oci-worker-rootless": "bool",
    "oci-worker-selinux": "bool",
    "oci-worker-snapshotter": "string",
    "otel-socket-path": "string",
    root: "string",
    rootless: "bool",
    "save-cache-debug": "bool",
    tlscacert: "string",
    tlscert: "string",
    tlskey: "string",
    trace: "bool",
    version: "bool",
  },
  short: { h: "help", v: "version" },
};

export interface ParsedFlags {
  /** whether it was given */
  has(name: string): boolean;
  readonly positional: readonly string[];
  bool(name: string): boolean;
  string(name: string): string;
  strings(name: string): readonly string[];
}

/** @throws BuildError FLAG_INVALID in buildx's words */
export function parseFlags(args: readonly string[], { flags, short }: FlagSet): ParsedFlags {
  const values = new Map<string, string[]>();
  const positional: string[] = [];
  const add = (name: string, value: string): void => {
    if (flags[name] === "strings") values.set(name, [...(values.get(name) ?? []), value]);
    else values.set(name, [value]);
  };
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!;
    const next = (shown: string): string => {
      const value = args[++i];
      if (value === undefined) throw new BuildError("FLAG_INVALID", `flag needs an argument: ${shown}`);
      return value;
    };
    if (arg === "--") {
      positional.push(...args.slice(i + 1));
      break;
    }
    if (arg.startsWith("--")) {
      const at = arg.indexOf("=");
      const name = at < 0 ? arg.slice(2) : arg.slice(2, at);
      const kind = flags[name];
      if (!kind) throw new BuildError("FLAG_INVALID", `unknown flag: --${name}`);
      add(name, at >= 0 ? arg.slice(at + 1) : kind === "bool" ? "true" : next(`--${name}`));
    } else if (arg.startsWith("-") && arg.length > 1) {
      for (let j = 1; j < arg.length; j++) {
        const letter = arg[j]!;
        const name = short[letter];
        if (!name) throw new BuildError("FLAG_INVALID", `unknown shorthand flag: '${letter}' in ${arg}`);
        if (flags[name] === "bool") {
          add(name, "true");
          continue;
        }
        const rest = arg.slice(j + 1).replace(/^=/, "");
        add(name, rest !== "" ? rest : next(`'${letter}' in ${arg}`));
        break;
      }
    } else positional.push(arg);
  }
  for (const [name, [value]] of values) {
    if (flags[name] === "bool" && !/^(1|t|true|0|f|false)$/i.test(value!)) {
      throw new BuildError(
        "FLAG_INVALID",
        `invalid argument "${value}" for "--${name}" flag: strconv.ParseBool: parsing "${value}": invalid syntax`,
      );
    }
  }
  return {
    has: (name) => values.has(name),
    positional,
    bool: (name) => /^(1|t|true)$/i.test(values.get(name)?.[0] ?? ""),
    string: (name) => values.get(name)?.[0] ?? "",
    strings: (name) => values.get(name) ?? [],
  };
}
