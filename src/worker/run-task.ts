// A build step's command in a container: mounts its root and its mounts, runs it, and removes what the mounts left
// behind in the root.
import {
  chmodSync,
  chownSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { connect, createServer } from "node:net";
import { posix } from "node:path";
import {
  execInContainer,
  findRuntime,
  lookupUser,
  resolvConf,
  runContainer,
  type ContainerMount,
  type ProcessControl,
  type Runtime,
  type RuntimeWish,
} from "../executor/index.js";
import { join, lstatMaybe, resolveInRoot } from "../layer/index.js";
import { bytePath, fsPath, setTimes, textOf, type BytePath } from "../linux/index.js";
import { BuildError, defaultPath } from "../lib/index.js";
import { fileAbove, makeFolders } from "./copy.js";
import type { Mounts } from "./mounts.js";
import type { ExecTask, RunMount, RunTask } from "./types.js";

const runtimes = new Map<string, Runtime>();

export interface RunContext {
  readonly mounts: Mounts;
  /** this process's own folder */
  readonly own: string;
  readonly signal: AbortSignal;
  readonly onOutput: (stream: 1 | 2, chunk: Buffer) => void;
  /** of a process that is interactive */
  readonly control?: ProcessControl | undefined;
  readonly onStarted?: (() => void) | undefined;
}

interface RunningContainer {
  readonly runtime: Runtime;
  readonly folder: string;
  /** a file of its root */
  readonly read: (path: string) => string;
  readonly privileged: boolean;
}

/** By id: other commands can be run in them. */
const containers = new Map<string, RunningContainer>();

/** Looked for once in a thread. */
export function chooseRuntime(wish: RuntimeWish, folder: string): Runtime {
  const key = `${wish.command ?? ""} ${wish.cgroups}`;
  const runtime = runtimes.get(key) ?? findRuntime(folder, wish);
  runtimes.set(key, runtime);
  return runtime;
}

export async function runTask(task: RunTask, context: RunContext): Promise<{ exitCode: number }> {
  const { mounts, own, signal, onOutput, control, onStarted } = context;
  const runtime = chooseRuntime(task.runtime, own);

  const root = mounts.writable(task.target);
  const read = (path: string): string => {
    try {
      return readFileSync(fsPath(resolveInRoot(root, bytePath(path))), "latin1");
    } catch {
      return "";
    }
  };
  const user = lookupUser(task.user, read);
  const cleanup = stubCleaner(
    root,
    [...task.mounts, ...task.edits.mounts].map((mount) => mount.destination),
  );
  const cwd = resolveInRoot(root, bytePath(task.cwd));
  makeFolders(cwd, 0o755, user, undefined);

  const system = mounts.tmpfs();
  let files = 0;
  const systemFile = (data: string | Uint8Array, mode: number, uid = 0, gid = 0): BytePath => {
    const path = join(system, `f${++files}`);
    writeFileSync(fsPath(path), data);
    chmodSync(fsPath(path), mode);
    chownSync(fsPath(path), uid, gid);
    return path;
  };
  const containerMounts: ContainerMount[] = [
    {
      destination: "/etc/resolv.conf",
      source: textOf(systemFile(resolvConf(task.dns), 0o644)),
      type: "bind",
      readonly: true,
    },
    {
      destination: "/etc/hosts",
      source: textOf(systemFile(hostsFile(task), 0o644)),
      type: "bind",
      readonly: true,
    },
  ];
  const closers: (() => void)[] = [];
  try {
    for (const mount of task.mounts)
      containerMounts.push(await prepareMount(mount, mounts, systemFile, system, closers));
    const { edits } = task;
    containerMounts.push(...edits.mounts);
    makeMountPoints(root, containerMounts);
    const folder = `${own}/c-${task.id}`;
    containers.set(task.id, { runtime, folder, read, privileged: task.privileged });
    const exitCode = await runContainer(
      runtime,
      {
        root: textOf(root),
        readonlyRoot: task.readonlyRoot,
        process: {
          args: task.args,
          env: [...withPath(task.env), ...edits.env],
          cwd: task.cwd,
          ...user,
          additionalGids: [...user.additionalGids, ...edits.additionalGids],
        },
        mounts: containerMounts,
        hostname: task.hostname === "" ? "buildkitsandbox" : task.hostname,
        network: task.network,
        privileged: task.privileged,
        ulimits: task.ulimits,
        cgroupParent: task.cgroupParent,
        devices: edits.devices,
        hooks: edits.hooks,
      },
      { id: task.id, folder, signal, onOutput, control, onStarted },
    );
    return { exitCode };
  } finally {
    containers.delete(task.id);
    for (const close of closers) close();
    cleanup();
  }
}

/** Another command in a container. @throws BuildError CONTAINER_GONE */
export async function execTask(
  task: ExecTask,
  { signal, onOutput, control, onStarted }: Omit<RunContext, "mounts" | "own">,
): Promise<{ exitCode: number }> {
  const container = containers.get(task.container);
  if (!container) throw new BuildError("CONTAINER_GONE", `container ${task.container} does not run`);
  const { runtime, folder, read, privileged } = container;
  const { args, cwd } = task;
  const process = { args, env: withPath(task.env), cwd, ...lookupUser(task.user, read) };
  const options = { id: task.container, folder, signal, onOutput, control, onStarted };
  return { exitCode: await execInContainer(runtime, process, privileged, options) };
}

function withPath(env: readonly string[]): readonly string[] {
  if (env.some((entry) => entry.startsWith("PATH="))) return env;
  return [`PATH=${defaultPath()}`, ...env];
}

function hostsFile(task: RunTask): string {
  const name = task.hostname === "" ? "buildkitsandbox" : task.hostname;
  const extra = task.extraHosts.map(({ Host, IP }) => `${IP}\t${Host}\n`).join("");
  return `127.0.0.1\tlocalhost ${name}\n::1\tlocalhost ip6-localhost ip6-loopback\n${extra}`;
}

async function prepareMount(
  mount: RunMount,
  mounts: Mounts,
  systemFile: (data: string | Uint8Array, mode: number, uid: number, gid: number) => BytePath,
  system: BytePath,
  closers: (() => void)[],
): Promise<ContainerMount> {
  const { destination, readonly, source } = mount;
  switch (source.kind) {
    case "tmpfs":
      return { destination, readonly, type: "tmpfs", source: source.size > 0 ? String(source.size) : "" };
    case "file":
      return {
        destination,
        readonly: true,
        type: "bind",
        source: textOf(systemFile(source.data, source.mode, source.uid, source.gid)),
      };
    case "agent":
      return {
        destination,
        readonly,
        type: "bind",
        source: textOf(await openAgent(source, system, closers)),
      };
    case "tree": {
      const layers = source.tree.kind === "layers" ? source.tree.layers : undefined;
      let tree = mounts.view(source.tree);
      if (source.scratch && !readonly && layers && layers.length > 0) tree = scratchView(mounts, layers);
      else if (source.scratch && !readonly) tree = mounts.tmpfs();
      return { destination, readonly, type: "bind", source: textOf(selected(tree, source.selector)) };
    }
    case "writable":
      return {
        destination,
        readonly,
        type: "bind",
        source: textOf(selected(mounts.writable(source.tree), source.selector)),
      };
    case "cache": {
      const tree = bytePath(source.folder);
      return { destination, readonly, type: "bind", source: textOf(selected(tree, source.selector)) };
    }
  }
}

let agents = 0;

/** A socket of the step's own, with the owner and mode it asks for, in front of the client's agent. */
async function openAgent(
  { path, mode, uid, gid }: { path: string; mode: number; uid: number; gid: number },
  system: BytePath,
  closers: (() => void)[],
): Promise<BytePath> {
  const socket = join(system, `agent${++agents}`);
  const server = createServer((client) => {
    const agent = connect(path);
    client.pipe(agent).pipe(client);
    client.on("error", () => agent.destroy());
    agent.on("error", () => client.destroy());
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(textOf(socket), resolve);
  });
  closers.push(() => server.close());
  chmodSync(fsPath(socket), mode);
  chownSync(fsPath(socket), uid, gid);
  return socket;
}

let scratches = 0;

/** A writable mount whose changes nobody keeps. */
function scratchView(mounts: Mounts, layers: readonly string[]): BytePath {
  const base = layers.length > 0 ? mounts.scratchFolder(`scratch-${++scratches}`) : { upper: "", work: "" };
  return mounts.writable({ layers, ...base });
}

function selected(tree: BytePath, selector: string): BytePath {
  if (selector === "" || selector === "/") return tree;
  const path = resolveInRoot(tree, bytePath(selector));
  if (!lstatMaybe(path))
    throw new BuildError(
      "NOT_FOUND",
      `failed to calculate checksum of ref: ${JSON.stringify(selector)}: not found`,
    );
  return path;
}

/** Folders to mount on, or of files to mount on, look like any other: crun gives those that it makes a sticky bit. */
function makeMountPoints(root: BytePath, mounts: readonly ContainerMount[]): void {
  const folders = mounts.map(({ destination, source, type }) => {
    const isFolder = type === "tmpfs" || lstatMaybe(bytePath(source))?.isDirectory();
    return isFolder ? destination : posix.dirname(destination);
  });
  for (const folder of ["/proc", "/dev", "/sys", ...folders]) {
    const path = resolveInRoot(root, bytePath(folder));
    if (fileAbove(path) === undefined) makeFolders(path, 0o755, undefined, undefined);
  }
}

/** Remembers which mount points are missing now; the result removes them again if they are still empty. */
function stubCleaner(root: BytePath, destinations: readonly string[]): () => void {
  const stubs: BytePath[] = [];
  for (const destination of ["/etc/resolv.conf", "/etc/hosts", ...destinations]) {
    let path = resolveInRoot(root, bytePath(destination));
    while (path.length > root.length && !lstatMaybe(path)) {
      stubs.push(path);
      path = path.slice(0, path.lastIndexOf("/"));
    }
  }
  return () => {
    for (const path of stubs) {
      const stat = lstatMaybe(path);
      if (!stat) continue;
      const empty = stat.isDirectory() ? readdirSync(fsPath(path)).length === 0 : stat.size === 0n;
      if (!empty) continue;
      const parent = path.slice(0, path.lastIndexOf("/"));
      const before = lstatMaybe(parent);
      if (stat.isDirectory()) rmdirSync(fsPath(path));
      else unlinkSync(fsPath(path));
      if (before) setTimes(parent, { atime: before.atimeNs, mtime: before.mtimeNs });
    }
  };
}
