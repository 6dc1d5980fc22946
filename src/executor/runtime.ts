// The OCI runtime: which one works here, and running a container with it. Called in a thread whose mount namespace has
// the container's root and mounts.
import { spawnSync } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, posix } from "node:path";
import { BuildError } from "../lib/index.js";
import { inUserNamespace, mount, unmount } from "../linux/index.js";
import { runProcess, type RunOptions } from "./process.js";
import { processConfig, runtimeConfig } from "./spec.js";
import type { ContainerSpec, DnsSettings, ProcessSpec } from "./types.js";

export interface Runtime {
  readonly command: string;
  readonly globalArgs: readonly string[];
  readonly cgroups: boolean;
  /** the compiled seccomp filter, base64: crun takes it and saves itself half of a container's start */
  readonly seccompFilter?: string;
}

/** Control groups first: only they keep a step that makes device nodes from opening them. */
const CANDIDATES: readonly Runtime[] = [
  { command: "crun", globalArgs: ["--cgroup-manager=cgroupfs"], cgroups: true },
  { command: "runc", globalArgs: [], cgroups: true },
  { command: "crun", globalArgs: ["--cgroup-manager=disabled"], cgroups: false },
];

export interface RuntimeWish {
  /** command to use; `undefined`: the first that works */
  readonly command: string | undefined;
  /** containers have to get control groups of their own */
  readonly cgroups: boolean;
}

/**
 * The first runtime that can run a container in `folder`; tried, because a runtime may be installed and refuse the
 * machine's cgroups or capabilities.
 * @throws BuildError OCI_RUNTIME_MISSING
 */
export function findRuntime(folder: string, { command, cgroups }: RuntimeWish): Runtime {
  hideUnifiedCgroup();
  const failures: string[] = [];
  const candidates = CANDIDATES.filter((candidate) => candidate.cgroups || !cgroups).map((candidate) =>
    command === undefined ? candidate : { ...candidate, command },
  );
  for (const runtime of candidates) {
    const result = probe(runtime, folder);
    if (typeof result === "object") return { ...runtime, ...result };
    failures.push(`${runtime.command}: ${result}`);
  }
  throw new BuildError(
    "OCI_RUNTIME_MISSING",
    `no OCI runtime can run containers ${cgroups ? "with a cgroup parent " : ""}here (${failures.join("; ")}); ` +
      "install crun or runc (apt-get install crun)",
  );
}

/** crun 1.8 refuses machines that have version 1 and 2 mounted side by side; what our thread sees of them is ours. */
function hideUnifiedCgroup(): void {
  const unified = "/sys/fs/cgroup/unified";
  if (!existsSync(join(unified, "cgroup.procs"))) return;
  try {
    if (inUserNamespace()) mount("tmpfs", "/sys/fs/cgroup", "tmpfs", 0, "mode=0755");
    else unmount(unified);
  } catch {
    // the probe tells whether it matters
  }
}

/** Creates a container, without starting it. @returns what it showed, or the runtime's complaint */
function probe(runtime: Runtime, folder: string): { seccompFilter?: string } | string {
  const bundle = join(folder, `probe-${runtime.command.replaceAll("/", "_")}`);
  mkdirSync(join(bundle, "rootfs"), { recursive: true });
  writeFileSync(join(bundle, "rootfs", "probe"), "#!/probe\n", { mode: 0o755 });
  const spec: ContainerSpec = {
    root: join(bundle, "rootfs"),
    readonlyRoot: false,
    process: { args: ["/probe"], env: [], cwd: "/", uid: 0, gid: 0, additionalGids: [] },
    mounts: [],
    hostname: "probe",
    network: "host",
    privileged: false,
    ulimits: [],
    cgroupParent: "",
    devices: [],
    hooks: [],
  };
  const id = `bluekiln-probe-${process.pid}`;
  const base = [...runtime.globalArgs, "--root", join(bundle, "state")];
  try {
    writeFileSync(
      join(bundle, "config.json"),
      JSON.stringify(runtimeConfig(spec, runtime, cgroupsPath(spec, id))),
    );
    const errors = openSync(join(bundle, "errors"), "w+");
    // files, not pipes: the container that waits would keep a pipe open
    const result = spawnSync(runtime.command, [...base, "create", "--bundle", bundle, id], {
      stdio: ["ignore", errors, errors],
    });
    closeSync(errors);
    if (result.error) return "not found";
    if (result.status !== 0)
      return readFileSync(join(bundle, "errors"), "utf8").trim().split("\n").pop() ?? "failed";
    const filter = join(bundle, "state", id, "seccomp.bpf");
    return existsSync(filter) ? { seccompFilter: readFileSync(filter).toString("base64") } : {};
  } finally {
    spawnSync(runtime.command, [...base, "delete", "--force", id], { stdio: "ignore" });
    rmSync(bundle, { recursive: true, force: true });
  }
}

/** As BuildKit places them: "a.slice:b:" is a systemd name, everything else a path. */
function cgroupsPath({ cgroupParent }: ContainerSpec, id: string): string {
  if (cgroupParent === "") return `/bluekiln/${id}`;
  if (cgroupParent.includes(".slice") && cgroupParent.endsWith(":")) return cgroupParent + id;
  return posix.join("/", cgroupParent, "bluekiln", id);
}

/** Runs the container to its end. @returns its exit code */
export async function runContainer(
  runtime: Runtime,
  spec: ContainerSpec,
  options: RunOptions,
): Promise<number> {
  const { id, folder, signal } = options;
  signal.throwIfAborted();
  mkdirSync(folder, { recursive: true });
  writeFileSync(
    join(folder, "config.json"),
    JSON.stringify(
      runtimeConfig(
        { ...spec, process: withTerminal(spec.process, options) },
        runtime,
        cgroupsPath(spec, id),
      ),
    ),
  );
  const base = [...runtime.globalArgs, "--root", join(folder, "state")];
  const kill = (): void => {
    spawnSync(runtime.command, [...base, "kill", id, "KILL"], { stdio: "ignore" });
    spawnSync(runtime.command, [...base, "delete", "--force", id], { stdio: "ignore" });
  };
  try {
    return await runProcess(runtime, [...base, "run", "--bundle", folder, id], options, {
      end: kill,
      signal: (name) => void spawnSync(runtime.command, [...base, "kill", id, name], { stdio: "ignore" }),
      pid: () => {
        const { stdout } = spawnSync(runtime.command, [...base, "state", id], { encoding: "utf8" });
        return /"status": *"running"/.test(stdout) ? Number(/"pid": *(\d+)/.exec(stdout)?.[1]) : undefined;
      },
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Runs another process in a container that runs. @returns its exit code */
export async function execInContainer(
  runtime: Runtime,
  process: ProcessSpec,
  privileged: boolean,
  options: RunOptions,
): Promise<number> {
  const { id, folder } = options;
  const name = `exec-${++execs}`;
  const [config, pid] = [join(folder, `${name}.json`), join(folder, `${name}.pid`)];
  writeFileSync(
    config,
    JSON.stringify(processConfig(withTerminal(process, options), { privileged, ulimits: [] })),
  );
  const base = [...runtime.globalArgs, "--root", join(folder, "state")];
  const kill = (signal: NodeJS.Signals): void => {
    try {
      globalThis.process.kill(Number(readFileSync(pid, "utf8")), signal);
    } catch {
      // it has ended, or not begun
    }
  };
  const pidOf = (): number | undefined => (existsSync(pid) && Number(readFileSync(pid, "utf8"))) || undefined;
  return runProcess(runtime, [...base, "exec", "--process", config, "--pid-file", pid, id], options, {
    end: () => kill("SIGKILL"),
    signal: (signal) => kill((signal.startsWith("SIG") ? signal : `SIG${signal}`) as NodeJS.Signals),
    pid: pidOf,
  });
}

let execs = 0;

function withTerminal(process: ProcessSpec, { control }: RunOptions): ProcessSpec {
  return control?.hasTerminal ? { ...process, hasTerminal: true } : process;
}

/** Ends what a killed process left running below `folder`. */
export function killLeftovers(folder: string): void {
  const state = join(folder, "state");
  if (!existsSync(state)) return;
  for (const { command, globalArgs } of CANDIDATES) {
    const list = spawnSync(command, [...globalArgs, "--root", state, "list", "-q"], { encoding: "utf8" });
    for (const id of (list.stdout ?? "").split("\n").filter((line) => line !== "")) {
      spawnSync(command, [...globalArgs, "--root", state, "delete", "--force", id], { stdio: "ignore" });
    }
  }
}

/** The host's DNS settings, for a container on the host's network. */
/** The containers' /etc/resolv.conf. */
export function resolvConf(dns: DnsSettings | undefined): string {
  let host = "";
  try {
    host = readFileSync("/etc/resolv.conf", "utf8");
  } catch {
    // a host without one
  }
  if (!dns) return host;
  const own = (key: string): string[] =>
    [...host.matchAll(new RegExp(`^${key}[ \\t]+(.*)$`, "gm"))].flatMap(([, value]) =>
      value!.trim().split(/\s+/),
    );
  const orHost = (given: readonly string[], key: string): readonly string[] =>
    given.length > 0 ? given : own(key);
  const line = (key: string, values: readonly string[]): string =>
    values.length > 0 ? `${key} ${values.join(" ")}\n` : "";
  return [
    line("search", orHost(dns.searchDomains, "search")),
    ...orHost(dns.nameservers, "nameserver").map((server) => line("nameserver", [server])),
    line("options", orHost(dns.options, "options")),
  ].join("");
}
