// Platforms: "linux/arm64/v8", "windows(10.0.17763)/amd64" and back, with containerd's normalizations.
import type { Platform } from "../../../llb/index.js";

const ARCHITECTURES: Readonly<Record<string, readonly [string, string?]>> = {
  x86_64: ["amd64"],
  "x86-64": ["amd64"],
  aarch64: ["arm64"],
  armhf: ["arm", "v7"],
  armel: ["arm", "v6"],
  i386: ["386"],
};
const KNOWN_ARCHITECTURES = [
  "386",
  "amd64",
  "amd64p32",
  "arm",
  "armbe",
  "arm64",
  "arm64be",
  "ppc64",
  "ppc64le",
  "loong64",
  "mips",
  "mipsle",
  "mips64",
  "mips64le",
  "mips64p32",
  "mips64p32le",
  "ppc",
  "riscv",
  "riscv64",
  "s390",
  "s390x",
  "sparc",
  "sparc64",
  "wasm",
];
const KNOWN_SYSTEMS = [
  "aix",
  "android",
  "darwin",
  "dragonfly",
  "freebsd",
  "hurd",
  "illumos",
  "ios",
  "js",
  "linux",
  "nacl",
  "netbsd",
  "openbsd",
  "plan9",
  "solaris",
  "windows",
  "zos",
];

/** System, version and features: "windows(10.0.17763+win32k)". */
const SYSTEM = /^([A-Za-z0-9_-]+)(?:\(([A-Za-z0-9_.%-]*)((?:\+[A-Za-z0-9_.%-]+)*)\))?$/;

/** @throws Error in containerd's words */
export function parsePlatform(specifier: string): Platform {
  if (specifier.includes("*"))
    throw new Error(`${JSON.stringify(specifier)}: wildcards not yet supported: invalid argument`);
  const parts = specifier.split("/");
  const [, system = "", version, features] = SYSTEM.exec(parts[0]!) ?? [];
  if (system === "")
    throw new Error(
      `${JSON.stringify(parts[0])} is an invalid OS component of ${JSON.stringify(specifier)}: OSAndVersion specifier component must match ${JSON.stringify(SYSTEM.source)}: invalid argument`,
    );
  const options = {
    ...(version && { OSVersion: decodeURIComponent(version) }),
    ...(features && { OSFeatures: features.slice(1).split("+").map(decodeURIComponent) }),
  };
  for (const part of parts.slice(1)) {
    if (!/^[A-Za-z0-9_.-]+$/.test(part)) {
      throw new Error(
        `${JSON.stringify(part)} is an invalid component of ${JSON.stringify(specifier)}: platform specifier component must match "^[A-Za-z0-9_.-]+$": invalid argument`,
      );
    }
  }
  if (parts.length > 3)
    throw new Error(`${JSON.stringify(specifier)}: cannot parse platform specifier: invalid argument`);
  if (parts.length === 1) {
    const word = system.toLowerCase();
    const known = word === "macos" ? "darwin" : word;
    if (KNOWN_SYSTEMS.includes(known))
      return normalizePlatform({ OS: known, Architecture: hostArchitecture(), ...options });
    const platform = normalizePlatform({ OS: "linux", Architecture: parts[0]! });
    if (KNOWN_ARCHITECTURES.includes(platform.Architecture)) return platform;
    throw new Error(
      `${JSON.stringify(specifier)}: unknown operating system or architecture: invalid argument`,
    );
  }
  return normalizePlatform({
    OS: system,
    Architecture: parts[1]!,
    ...(parts[2] !== undefined && { Variant: parts[2] }),
    ...options,
  });
}

export function normalizePlatform(platform: Platform): Platform {
  const lower = platform.Architecture.toLowerCase();
  const [architecture, defaultVariant] = ARCHITECTURES[lower] ?? [lower];
  let variant = (platform.Variant ?? defaultVariant ?? "").toLowerCase();
  if (architecture === "arm64" && (variant === "8" || variant === "v8")) variant = "";
  if (architecture === "amd64" && variant === "v1") variant = "";
  if (architecture === "arm") {
    if (variant === "" || variant === "7") variant = "v7";
    else if (/^[568]$/.test(variant)) variant = `v${variant}`;
  }
  const system = platform.OS.toLowerCase();
  return {
    OS: system === "macos" ? "darwin" : system,
    Architecture: architecture,
    ...(variant !== "" && { Variant: variant }),
    ...(platform.OSVersion && { OSVersion: platform.OSVersion }),
    ...(platform.OSFeatures?.length && { OSFeatures: platform.OSFeatures }),
  };
}

export function formatPlatform({
  OS,
  Architecture,
  Variant,
  OSVersion = "",
  OSFeatures = [],
}: Platform): string {
  const options = [OSVersion, ...OSFeatures].map(encodeURIComponent).join("+");
  const system = options === "" ? OS : `${OS}(${options})`;
  return [system, Architecture, Variant].filter((part) => part).join("/");
}

export function hostPlatform(): Platform {
  return { OS: "linux", Architecture: hostArchitecture() };
}

/** What containers of this machine can be: its own platform first. */
export function workerPlatforms(): readonly Platform[] {
  const own = hostPlatform();
  return own.Architecture === "amd64" ? [own, { ...own, Architecture: "386" }] : [own];
}

function hostArchitecture(): string {
  const names: Readonly<Record<string, string>> = { x64: "amd64", ia32: "386", ppc64: "ppc64le" };
  return names[process.arch] ?? process.arch;
}

/** Go's path.Match-free comparison of two normalized platforms. */
export function samePlatform(a: Platform, b: Platform): boolean {
  return formatPlatform(a) === formatPlatform(b);
}
