// Devices of RUN --device by their CDI names, "vendor.com/class=name", and what each asks of a container.
// Source of the format: Container Device Interface specification; how names are chosen: BuildKit's documentation.
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { BuildError, codeOf, messageOf, parseBool } from "../lib/index.js";
import { deviceNumbers } from "../linux/index.js";
import type { ContainerDevice, ContainerEdits, ContainerHook, ContainerMount } from "./types.js";

/** Folders a machine's device specs lie in; a later one's device replaces an earlier one's of the same name. */
export const CDI_FOLDERS: readonly string[] = ["/etc/cdi", "/var/run/cdi", "/etc/buildkit/cdi"];

const CLASS = "org.mobyproject.buildkit.device.class";
const AUTO_ALLOW = "org.mobyproject.buildkit.device.autoallow";

export interface CdiDevice {
  /** "vendor.com/class=name" */
  readonly name: string;
  readonly annotations: Readonly<Record<string, string>>;
  readonly edits: readonly CdiEdits[];
}

export interface CdiDevices {
  readonly devices: readonly CdiDevice[];
  /** files that could not be read, and why */
  readonly problems: readonly string[];
}

/** "containerEdits" of a spec file, as far as a build step can use it. */
interface CdiEdits {
  readonly env?: readonly string[];
  readonly deviceNodes?: readonly {
    readonly path: string;
    readonly hostPath?: string;
    readonly type?: string;
    readonly major?: number;
    readonly minor?: number;
    readonly fileMode?: number;
    readonly permissions?: string;
    readonly uid?: number;
    readonly gid?: number;
  }[];
  readonly mounts?: readonly {
    readonly hostPath: string;
    readonly containerPath: string;
    readonly options?: readonly string[];
  }[];
  readonly hooks?: readonly ({ readonly hookName: string } & ContainerHook)[];
  readonly additionalGids?: readonly number[];
}

interface CdiFile {
  readonly kind?: string;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly containerEdits?: CdiEdits;
  readonly devices?: readonly {
    readonly name?: string;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly containerEdits?: CdiEdits;
  }[];
}

export const NO_EDITS: ContainerEdits = { env: [], devices: [], mounts: [], hooks: [], additionalGids: [] };

/** What this machine offers. A folder that is not there offers nothing. */
export async function readCdiDevices(folders: readonly string[] = CDI_FOLDERS): Promise<CdiDevices> {
  const paths = folders.flatMap(specFiles);
  if (paths.length === 0) return { devices: [], problems: [] };
  const { parse } = await import("yaml");
  const devices = new Map<string, CdiDevice>();
  const problems: string[] = [];
  for (const path of paths) {
    try {
      for (const device of devicesOf(parse(readFileSync(path, "utf8")) as CdiFile | null))
        devices.set(device.name, device);
    } catch (error) {
      problems.push(`${path}: ${messageOf(error)}`);
    }
  }
  // by name, as CDI's own registry lists them
  const sorted = [...devices.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  return { devices: sorted, problems };
}

function specFiles(folder: string): string[] {
  try {
    const names = readdirSync(folder).filter((name) => /\.(json|ya?ml)$/.test(name));
    return names.sort().map((name) => join(folder, name));
  } catch (error) {
    if (codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR") return [];
    throw error;
  }
}

/** @throws Error if the file is no device spec */
function devicesOf(file: CdiFile | null | undefined): CdiDevice[] {
  const kind = file?.kind;
  if (typeof kind !== "string" || !/^[^/=]+\/[^/=]+$/.test(kind)) throw new Error("kind is not vendor/class");
  if (!file?.devices) throw new Error("no devices");
  return file.devices.map(({ name, annotations, containerEdits }) => {
    if (typeof name !== "string" || name === "") throw new Error("a device without a name");
    return {
      name: `${kind}=${name}`,
      annotations: texts({ ...file.annotations, ...annotations }),
      edits: [file.containerEdits, containerEdits].filter((edits) => edits !== undefined),
    };
  });
}

/** YAML makes something else of `true` and 1. */
function texts(values: Readonly<Record<string, unknown>>): Record<string, string> {
  return Object.fromEntries(Object.entries(values).map(([key, value]) => [key, String(value)]));
}

/**
 * "vendor/class=name", "vendor/class" (its first), "vendor/class=*" (all); where there is none of that name, those whose
 * annotation says it.
 */
function named(wanted: string, devices: readonly CdiDevice[]): readonly CdiDevice[] {
  const [kind, name = ""] = wanted.split(/=(.*)/s) as [string, string | undefined];
  const ofKind = devices.filter((device) => device.name.startsWith(`${kind}=`));
  const found =
    name === "" ? ofKind.slice(0, 1) : ofKind.filter((device) => name === "*" || device.name === wanted);
  return found.length > 0 ? found : devices.filter(({ annotations }) => annotations[CLASS] === wanted);
}

/** Any step may have it, without being allowed to. */
export function isAutoAllowed({ annotations }: CdiDevice): boolean {
  return parseBool(annotations[AUTO_ALLOW] ?? "") === true;
}

interface DeviceRequest {
  readonly name: string;
  readonly optional: boolean;
}

/**
 * @param entitlements "device" allows every device, "device=NAME" what is chosen by that name
 * @throws BuildError NOT_ALLOWED
 */
export function checkDevicesAllowed(
  wanted: readonly DeviceRequest[],
  { devices }: CdiDevices,
  entitlements: ReadonlySet<string>,
): void {
  if (entitlements.has("device")) return;
  const granted = new Set(
    [...entitlements].flatMap((text) =>
      text.startsWith("device=") ? named(text.slice("device=".length), devices) : [],
    ),
  );
  for (const request of wanted) {
    const refused = named(request.name, devices).find(
      (device) => !granted.has(device) && !isAutoAllowed(device),
    );
    if (refused)
      throw new BuildError(
        "NOT_ALLOWED",
        `device ${refused.name} is requested by the build but not allowed (--allow device=${refused.name})`,
      );
  }
}

/**
 * What the devices a step names ask of its container.
 * @throws BuildError DEVICE_MISSING if one that is not optional is not there
 */
export function deviceEdits(
  wanted: readonly DeviceRequest[],
  { devices, problems }: CdiDevices,
): ContainerEdits {
  const chosen = new Set<CdiDevice>();
  for (const { name, optional } of wanted) {
    const found = named(name, devices);
    if (found.length === 0 && !optional) {
      const why = problems.length > 0 ? ` (not read: ${problems.join("; ")})` : "";
      throw new BuildError(
        "DEVICE_MISSING",
        `required device ${JSON.stringify(name)} is not registered${why}`,
      );
    }
    for (const device of found) chosen.add(device);
  }
  const edits = [...new Set([...chosen].flatMap((device) => device.edits))];
  return {
    env: edits.flatMap(({ env }) => env ?? []),
    devices: edits.flatMap(({ deviceNodes }) => deviceNodes ?? []).map(deviceNode),
    mounts: edits.flatMap(({ mounts }) => mounts ?? []).map(bindMount),
    hooks: edits.flatMap(({ hooks }) => hooks ?? []),
    additionalGids: edits.flatMap(({ additionalGids }) => additionalGids ?? []),
  };
}

/** @throws BuildError DEVICE_MISSING if the host has no such node */
function deviceNode(node: NonNullable<CdiEdits["deviceNodes"]>[number]): ContainerDevice {
  const { path, hostPath = path, uid, gid, fileMode, permissions = "rwm" } = node;
  const owner = { uid, gid, fileMode };
  if (node.type !== undefined && (node.major !== undefined || node.type === "p"))
    return { path, type: node.type, major: node.major ?? 0, minor: node.minor ?? 0, permissions, ...owner };
  try {
    const stat = statSync(hostPath);
    const type = stat.isBlockDevice() ? "b" : stat.isFIFO() ? "p" : "c";
    return { path, type, ...deviceNumbers(stat.rdev), permissions, ...owner };
  } catch (error) {
    throw new BuildError("DEVICE_MISSING", `device node ${hostPath}: ${messageOf(error)}`);
  }
}

function bindMount(mount: NonNullable<CdiEdits["mounts"]>[number]): ContainerMount {
  const { hostPath, containerPath, options = [] } = mount;
  return { destination: containerPath, source: hostPath, type: "bind", readonly: options.includes("ro") };
}
