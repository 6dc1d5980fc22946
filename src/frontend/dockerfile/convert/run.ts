// RUN to exec operations, with its mounts, secrets and agents.
import { basename, posix } from "node:path";
import {
  exec,
  file,
  type ExecMeta,
  type MountRequest,
  type Output,
  type ProxyEnv,
  type SecretEnv,
} from "../../../llb/index.js";
import { parseDevice, parseMount, type InstructionOf, type MountFlag } from "../instructions/index.js";
import { chompTabs, goQuote, parseHeredoc } from "../parser/index.js";
import { SourceError } from "../source-error.js";
import type { ConvertContext } from "./context.js";
import { inlineDocument } from "./copy.js";
import { clean } from "./path.js";
import { commitHistory, envLookup, type StageState } from "./stage-state.js";
import { commandText, stepName } from "./step-name.js";

/** Where the files of a mount come from: a stage or image, or the build context. */
export type MountSource =
  | "context"
  | {
      /** the stage stands before the instruction */
      readonly isReady: boolean;
      /** @param path is read of it */
      readonly read: (path: string) => Output | undefined;
    };

export function dispatchRun(
  context: ConvertContext,
  state: StageState,
  command: InstructionOf<"RUN">,
  mountSources: readonly MountSource[],
  expand: (word: string) => string,
): void {
  const { request } = context;
  const mounts: MountRequest[] = [];
  let customName = command.original;
  let args = command.command.args;
  if (command.heredocs.length > 0) {
    if (args.length !== 1 || command.command.exec)
      throw new Error(`parsing produced an invalid run command: ${args.join(" ")}`);
    const first = command.heredocs[0]!;
    if (parseHeredoc(args[0]!)) {
      const data = first.chomp ? chompTabs(first.content) : first.content;
      if (first.content.startsWith("#!")) {
        const document = inlineDocument(first.name, data, 0o755);
        mounts.push({ type: "BIND", dest: "/dev/pipes/", source: document, selector: "/", readonly: true });
        args = [posix.join("/dev/pipes", first.name)];
      } else args = [data];
      customName += ` (${summary(first.content)})`;
    } else {
      args = [
        command.heredocs.reduce((text, heredoc) => `${text}\n${heredoc.content}${heredoc.name}`, args[0]!),
      ];
    }
  }
  if (!command.command.exec) args = [...shellOf(state), args.join(" ")];
  else if (args.length === 0)
    throw new SourceError("failed to marshal LLB definition: arguments are required", []);

  const secretEnv: SecretEnv[] = [];
  let sshIndex = 0;
  for (const [index, flag] of command.mounts.entries()) {
    const mount = parseMount(flag, expand);
    if (mount.type === "SECRET") {
      const id = addSecret(mount, mounts, secretEnv);
      state.outline.secret(id, { isRequired: mount.required, range: command.range });
    } else if (mount.type === "SSH") {
      mounts.push(sshMount(mount, sshIndex++));
      const id = mount.cacheId === "" ? "default" : mount.cacheId;
      state.outline.agent(id, { isRequired: mount.required, range: command.range });
    } else mounts.push(folderMount(context, state, mount, mountSources[index]!));
  }
  if (request.shmSize > 0) mounts.push({ type: "TMPFS", dest: "/dev/shm", size: request.shmSize });

  const nameShell = { ...context.shell, rawQuotes: true, skipUnset: true };
  const masked = [...state.env, ...secretEnv.map(({ name }) => [name, "****"] as const)];
  const text = commandText(`${command.fromOnbuild ? "ONBUILD " : ""}${customName}`, masked, nameShell);
  const proxyEnv = proxyOf(request.buildArgs);
  const meta: ExecMeta = {
    args,
    env: state.env.map(([key, value]) => `${key}=${value}`),
    cwd: state.dir,
    user: state.user,
    ...(proxyEnv && { proxyEnv }),
    extraHosts: request.addHosts.map(({ host, ip }) => ({ Host: host, IP: ip })),
    hostname: request.buildArgs["BUILDKIT_SANDBOX_HOSTNAME"] || (request.hostname ?? ""),
    ulimit: request.ulimits,
    cgroupParent: request.cgroupParent,
    removeMountStubsRecursive: true,
    validExitCodes: [],
  };
  const network = command.network === "default" ? request.network : command.network;
  state.output = exec(
    state.output,
    {
      meta,
      mounts,
      network: network === "none" ? "NONE" : network === "host" ? "HOST" : "UNSET",
      security: command.security === "insecure" ? "INSECURE" : "SANDBOX",
      secretEnv,
      cdiDevices: command.devices
        .map((flag) => parseDevice(flag, expand))
        .map(({ name, required }) => ({ name, optional: !required })),
    },
    {
      customName: stepName(state, text, context.showPlatform ? state.platform : undefined),
      description: { "com.docker.dockerfile.v1.command": command.original },
      ignoreCache: state.noCache,
      platform: state.platform,
      locations: context.locations(command.range),
    },
  );
  commitHistory(state, `RUN ${historyArgs(args, state)} # buildkit`, true);
}

export function shellOf(state: StageState): readonly string[] {
  const shell = state.image.config.Shell;
  if (shell && shell.length > 0) return shell;
  return state.image.os === "windows" ? ["cmd", "/S", "/C"] : ["/bin/sh", "-c"];
}

/** "|2 a=1 b=2 /bin/sh -c ...": build arguments are part of what history shows. */
function historyArgs(args: readonly string[], state: StageState): string {
  const lookup = envLookup(state.env);
  const values = new Map(state.buildArgs.map(({ key, value }) => [key, lookup(key) ?? value ?? ""]));
  const shown = [...values].map(([key, value]) => `${key}=${value}`);
  return [...(shown.length > 0 ? [`|${shown.length}`, ...shown] : []), ...args].join(" ");
}

function summary(content: string): string {
  const lines = content.replace(/^\n+|\s+$/g, "").split("\n");
  const first = (lines[0] ?? "").trim();
  return lines.length > 1 ? `${first}...` : first;
}

function folderMount(
  context: ConvertContext,
  state: StageState,
  mount: MountFlag,
  from: MountSource,
): MountRequest {
  if (from !== "context" && !from.isReady)
    throw new Error(
      `cannot mount from stage ${goQuote(mount.from)} to ${goQuote(mount.target)}, stage needs to be defined before current command`,
    );
  const dest = posix.isAbsolute(mount.target)
    ? clean(mount.target)
    : clean(posix.join("/", state.dir, mount.target));
  if (dest === "/") throw new Error(`invalid mount target ${JSON.stringify(dest)}`);
  let selector = clean(posix.join("/", mount.source));
  if (from === "context" && mount.type !== "CACHE") context.contextPaths.add(selector);
  let source = from === "context" ? context.buildContext : from.read(selector);
  if (mount.type === "TMPFS") return { type: "TMPFS", dest, size: mount.size };
  if (mount.type === "CACHE") {
    if (from === "context") source = undefined;
    if (selector === "/") {
      const owned = ownedCache(mount);
      if (owned) [source, selector] = [owned, "/cache"];
    }
    const sharing = mount.cacheSharing === "" ? "SHARED" : mount.cacheSharing;
    const namespace = context.request.buildArgs["BUILDKIT_CACHE_MOUNT_NS"] ?? "";
    const id = `${namespace}/${mount.cacheId === "" ? clean(mount.target) : mount.cacheId}`;
    return {
      type: "CACHE",
      dest,
      source,
      id,
      sharing,
      readonly: mount.readonly,
      ...(selector !== "/" && { selector }),
    };
  }
  return {
    type: "BIND",
    dest,
    source,
    readonly: mount.readonly,
    noOutput: true,
    ...(selector !== "/" && { selector }),
  };
}

/** A cache mount with an owner or mode starts from a folder that has them. */
function ownedCache({ uid, gid, mode }: MountFlag): Output | undefined {
  if (uid === undefined && gid === undefined && mode === undefined) return undefined;
  const owner = { user: { kind: "byID", id: uid ?? 0 }, group: { kind: "byID", id: gid ?? 0 } } as const;
  const mkdir = { path: "/cache", mode: mode ?? 0o755, makeParents: false, owner, timestamp: -1n };
  return file(undefined, [{ kind: "mkdir", mkdir }], {
    customName: "[internal] setting cache mount permissions",
  });
}

/** @returns the secret's id */
function addSecret(mount: MountFlag, mounts: MountRequest[], env: SecretEnv[]): string {
  let id = mount.source !== "" ? mount.source : mount.cacheId;
  if (id === "") {
    if (mount.target === "") throw new Error("one of source, target required");
    id = basename(mount.target);
  }
  const optional = !mount.required;
  if (mount.env !== undefined) env.push({ ID: id, name: mount.env, optional });
  if (mount.env !== undefined && mount.target === "") return id;
  const dest = mount.target !== "" ? mount.target : `/run/secrets/${basename(id)}`;
  const opt = { ID: id, uid: mount.uid ?? 0, gid: mount.gid ?? 0, mode: mount.mode ?? 0o400, optional };
  mounts.push({ type: "SECRET", dest, opt });
  return id;
}

function sshMount(mount: MountFlag, index: number): MountRequest {
  const dest = mount.target !== "" ? mount.target : `/run/buildkit/ssh_agent.${index}`;
  const opt = {
    ID: mount.cacheId,
    uid: mount.uid ?? 0,
    gid: mount.gid ?? 0,
    mode: mount.mode ?? 0o600,
    optional: !mount.required,
  };
  return { type: "SSH", dest, opt };
}

function proxyOf(args: Readonly<Record<string, string>>): ProxyEnv | undefined {
  const proxy = { httpProxy: "", httpsProxy: "", ftpProxy: "", noProxy: "", allProxy: "" };
  const names: Readonly<Record<string, keyof ProxyEnv>> = {
    http_proxy: "httpProxy",
    https_proxy: "httpsProxy",
    ftp_proxy: "ftpProxy",
    no_proxy: "noProxy",
    all_proxy: "allProxy",
  };
  let found = false;
  for (const [key, value] of Object.entries(args)) {
    const name = names[key.toLowerCase()];
    if (!name) continue;
    proxy[name] = value;
    found = true;
  }
  return found ? proxy : undefined;
}
