// One function for each kind of vertex a frontend makes. They know which capabilities BuildKit's client library
// declares for which field, and in which order inputs are numbered.
import { goJson } from "../lib/index.js";
import type {
  CacheSharing,
  ChownOpt,
  CredentialOpt,
  ExecMeta,
  FileActionBody,
  FileActionCopy,
  FileAction,
  Mount,
  MountType,
  NetMode,
  SecretEnv,
  SecurityMode,
  UserOpt,
} from "./types.js";
import { vertex, type Output, type VertexOptions } from "./vertex.js";

export interface LocalOptions {
  readonly sessionId: string;
  readonly sharedKeyHint: string;
  readonly followPaths?: readonly string[] | undefined;
  readonly includePatterns?: readonly string[] | undefined;
  readonly excludePatterns?: readonly string[] | undefined;
  /** "none" when files of the folder are only read, not cached between builds */
  readonly differ?: "none" | undefined;
}

/** A folder of the client. */
export function local(name: string, local: LocalOptions, options: VertexOptions): Output {
  const attrs: Record<string, string> = {
    "local.session": local.sessionId,
    "local.sharedkeyhint": local.sharedKeyHint,
  };
  const caps = ["source.local", "source.local.sessionid", "source.local.sharedkeyhint"];
  const lists = [
    ["local.followpaths", "source.local.followpaths", local.followPaths],
    ["local.includepattern", "source.local.includepatterns", local.includePatterns],
    ["local.excludepatterns", "source.local.excludepatterns", local.excludePatterns],
  ] as const;
  for (const [attr, cap, value] of lists) {
    if (value === undefined || value.length === 0) continue;
    attrs[attr] = goJson(value);
    caps.push(cap);
  }
  if (local.differ) attrs["local.differ"] = local.differ;
  return {
    vertex: vertex({ kind: "source", source: { identifier: `local://${name}`, attrs } }, [], caps, options),
    index: 0,
  };
}

/** An image. `reference` is normalized ("docker.io/library/alpine:3@sha256:..."). */
export function image(
  reference: string,
  resolveMode: "default" | "pull" | "local",
  options: VertexOptions,
): Output {
  const caps = ["source.image"];
  const attrs: Record<string, string> = {};
  if (resolveMode !== "default") {
    attrs["image.resolvemode"] = resolveMode;
    caps.push("source.image.resolvemode");
  }
  return source(`docker-image://${reference}`, attrs, caps, options);
}

/** An image in an OCI layout that the client lends. `reference` has a digest. */
export function ociLayout(
  reference: string,
  store: string,
  sessionId: string,
  options: VertexOptions,
): Output {
  const attrs = { "oci.session": sessionId, "oci.store": store };
  return source(`oci-layout://${reference}`, attrs, ["source.ocilayout"], options);
}

/** Any other source, by identifier. */
export function source(
  identifier: string,
  attrs: Readonly<Record<string, string>>,
  caps: readonly string[],
  options: VertexOptions,
): Output {
  return { vertex: vertex({ kind: "source", source: { identifier, attrs } }, [], caps, options), index: 0 };
}

export type MountRequest = {
  readonly dest: string;
  /** `undefined`: scratch */
  readonly source?: Output | undefined;
  readonly selector?: string;
  readonly readonly?: boolean;
  readonly noOutput?: boolean;
} & (
  | { readonly type: "BIND" }
  | { readonly type: "CACHE"; readonly id: string; readonly sharing: CacheSharing }
  | { readonly type: "TMPFS"; readonly size: number }
  | { readonly type: "SECRET" | "SSH"; readonly opt: CredentialOpt }
);

export interface ExecRequest {
  readonly meta: ExecMeta;
  /** without the root */
  readonly mounts: readonly MountRequest[];
  readonly network: NetMode;
  readonly security: SecurityMode;
  readonly secretEnv: readonly SecretEnv[];
  readonly cdiDevices: readonly { readonly name: string; readonly optional: boolean }[];
}

/** A command run on `root`; the result is the changed root. */
export function exec(root: Output | undefined, request: ExecRequest, options: VertexOptions): Output {
  const inputs: Output[] = [];
  const indexOf = (output: Output | undefined): number => {
    if (!output) return -1;
    const known = inputs.findIndex((other) => other.vertex === output.vertex && other.index === output.index);
    return known >= 0 ? known : inputs.push(output) - 1;
  };
  const base = { selector: "", output: -1, readonly: false, resultID: "", contentCache: "DEFAULT" as const };
  const mounts: Mount[] = [{ ...base, input: indexOf(root), dest: "/", output: 0, mountType: "BIND" }];
  // BuildKit orders mounts by destination, secrets and agents after all others.
  const sortedMounts = [...request.mounts].sort((a, b) => (a.dest < b.dest ? -1 : a.dest > b.dest ? 1 : 0));
  const isCredential = (mount: MountRequest): boolean => mount.type === "SECRET" || mount.type === "SSH";
  let outputs = 1;
  for (const mount of sortedMounts.filter((m) => !isCredential(m))) {
    const readonly = mount.readonly ?? false;
    mounts.push({
      ...base,
      input: indexOf(mount.source),
      selector: mount.selector ?? "",
      dest: mount.dest,
      output: mount.noOutput || readonly || mount.type === "TMPFS" || mount.type === "CACHE" ? -1 : outputs++,
      readonly,
      mountType: mount.type,
      ...(mount.type === "TMPFS" && { TmpfsOpt: { size: mount.size } }),
      ...(mount.type === "CACHE" && { cacheOpt: { ID: mount.id, sharing: mount.sharing } }),
    });
  }
  for (const type of ["SECRET", "SSH"] as const) {
    for (const mount of request.mounts) {
      if (mount.type !== type) continue;
      const opt = type === "SECRET" ? { secretOpt: mount.opt } : { SSHOpt: mount.opt };
      mounts.push({ ...base, input: -1, output: 0, dest: mount.dest, mountType: type, ...opt });
    }
  }
  const { network, security, secretEnv, cdiDevices } = request;
  const agent = request.mounts.find((mount) => mount.type === "SSH");
  const env = request.meta.env.filter((entry) => !agent || !entry.startsWith("SSH_AUTH_SOCK="));
  const meta = { ...request.meta, env: agent ? [...env, `SSH_AUTH_SOCK=${agent.dest}`] : env };
  const body = { kind: "exec", exec: { meta, mounts, network, security, secretEnv, cdiDevices } } as const;
  const walk = [root, ...request.mounts.map((mount) => mount.source)].filter(
    (output) => output !== undefined,
  );
  return { vertex: vertex(body, inputs, execCaps(request), options, walk), index: 0 };
}

const MOUNT_CAPS: Record<MountType, readonly string[]> = {
  BIND: ["exec.mount.bind"],
  CACHE: ["exec.mount.cache", "exec.mount.cache.sharing"],
  TMPFS: ["exec.mount.tmpfs"],
  SECRET: ["exec.mount.secret"],
  SSH: ["exec.mount.ssh"],
};

function execCaps({
  meta,
  mounts,
  network,
  security,
  secretEnv,
  cdiDevices,
}: ExecRequest): readonly string[] {
  const caps = new Set(["exec.meta.base", "exec.meta.setsdefaultpath", "exec.mount.bind"]);
  for (const mount of mounts) {
    for (const cap of MOUNT_CAPS[mount.type]) caps.add(cap);
    if (mount.selector) caps.add("exec.mount.selector");
    if (mount.type === "TMPFS" && mount.size > 0) caps.add("exec.mount.tmpfs.size");
  }
  if (meta.proxyEnv) caps.add("exec.meta.proxyenv");
  if (meta.ulimit.length > 0) caps.add("exec.meta.ulimit");
  if (meta.cgroupParent) caps.add("exec.meta.cgroup.parent");
  if (network !== "UNSET") caps.add("exec.meta.network");
  if (security !== "SANDBOX") caps.add("exec.meta.security");
  if (cdiDevices.length > 0) caps.add("exec.meta.cdi");
  if (secretEnv.length > 0) caps.add("exec.secretenv").add("exec.mount.secret");
  return [...caps];
}

/** A copy of which nothing is said but source and destination, as BuildKit's client library makes it. */
export const PLAIN_COPY: FileActionCopy = {
  src: "",
  dest: "",
  mode: -1,
  modeStr: "",
  followSymlink: false,
  dirCopyContents: false,
  attemptUnpackDockerCompatibility: false,
  createDestPath: false,
  allowWildcard: false,
  allowEmptyWildcard: false,
  timestamp: -1n,
  includePatterns: [],
  excludePatterns: [],
  alwaysReplaceExistingDestPaths: false,
  requiredPaths: [],
};

export type FileRequest =
  | (Exclude<FileActionBody, { kind: "copy" }> & { readonly source?: undefined })
  | (Extract<FileActionBody, { kind: "copy" }> & {
      /** `undefined`: scratch */
      readonly source: Output | undefined;
    });

/** File actions applied one after another to `base` (scratch if undefined). */
export function file(
  base: Output | undefined,
  requests: readonly FileRequest[],
  options: VertexOptions,
): Output {
  const inputs: Output[] = [];
  const add = (output: Output | undefined): number => {
    if (!output) return -1;
    const known = inputs.findIndex((other) => other.vertex === output.vertex && other.index === output.index);
    return known >= 0 ? known : inputs.push(output) - 1;
  };
  const first = add(base);
  const sources = requests.map((request) => (request.kind === "copy" ? add(request.source) : -1));
  const actions = requests.map((request, i): FileAction => {
    const { source: _source, ...body } = request;
    const input = i === 0 ? first : inputs.length + i - 1;
    return {
      ...withOwnerInput(body, input),
      input,
      secondaryInput: sources[i]!,
      output: i === requests.length - 1 ? 0 : -1,
    };
  });
  const lastFirst = [...requests].reverse().map((request) => request.source);
  const walk = [base, ...lastFirst].filter((output) => output !== undefined);
  return {
    vertex: vertex({ kind: "file", file: { actions } }, inputs, ["file.base"], options, walk),
    index: 0,
  };
}

/** Owners that are names are looked up in what the action works on. */
function withOwnerInput(body: FileActionBody, input: number): FileActionBody {
  const user = (opt: UserOpt): UserOpt => (opt.kind === "byName" ? { ...opt, input } : opt);
  const owned = <T extends { readonly owner?: ChownOpt }>(value: T): T => {
    const { owner } = value;
    if (!owner) return value;
    return {
      ...value,
      owner: {
        ...(owner.user && { user: user(owner.user) }),
        ...(owner.group && { group: user(owner.group) }),
      },
    };
  };
  switch (body.kind) {
    case "copy":
      return { kind: body.kind, copy: owned(body.copy) };
    case "mkdir":
      return { kind: body.kind, mkdir: owned(body.mkdir) };
    case "mkfile":
      return { kind: body.kind, mkfile: owned(body.mkfile) };
    default:
      return body;
  }
}

/** "user:group" as names or numbers; root is 0. */
export function parseOwner(text: string): ChownOpt {
  const [user, group] = text.split(/:(.*)/s);
  return { user: userOpt(user ?? ""), ...(group !== undefined && { group: userOpt(group) }) };
}

function userOpt(text: string): UserOpt {
  if (text === "" || text === "root") return { kind: "byID", id: 0 };
  if (/^[+-]?\d+$/.test(text) && Number(text) < 2 ** 31) return { kind: "byID", id: Number(text) };
  return { kind: "byName", name: text, input: 0 };
}

/** The layers of `inputs` one over another; scratch inputs are left out, a single input is itself. */
export function merge(inputs: readonly (Output | undefined)[], options: VertexOptions): Output | undefined {
  const present = inputs.filter((input): input is Output => input !== undefined);
  if (present.length < 2) return present[0];
  const body = { kind: "merge", merge: { inputs: present.map((_, i) => i) } } as const;
  return { vertex: vertex(body, present, ["mergeop"], options), index: 0 };
}
