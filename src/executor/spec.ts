// The config.json of a build step, with BuildKit's defaults: capabilities, namespaces, masked paths, seccomp.
import { readFileSync } from "node:fs";
import { ALLOWED, ALLOWED_ON } from "./seccomp-calls.js";
import { hasGroup, inUserNamespace, maySetGroups } from "../linux/index.js";
import type { ContainerSpec, ProcessSpec } from "./types.js";

const CAPABILITIES = [
  "CHOWN",
  "DAC_OVERRIDE",
  "FSETID",
  "FOWNER",
  "MKNOD",
  "NET_RAW",
  "SETGID",
  "SETUID",
  "SETFCAP",
  "SETPCAP",
  "NET_BIND_SERVICE",
  "SYS_CHROOT",
  "KILL",
  "AUDIT_WRITE",
].map((name) => `CAP_${name}`);
const ALL_CAPABILITIES = [
  ...CAPABILITIES,
  ...[
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "DAC_READ_SEARCH",
    "IPC_LOCK",
    "IPC_OWNER",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "NET_ADMIN",
    "NET_BROADCAST",
    "PERFMON",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
  ].map((name) => `CAP_${name}`),
];

const MASKED = [
  "/proc/acpi",
  "/proc/asound",
  "/proc/kcore",
  "/proc/keys",
  "/proc/latency_stats",
  "/proc/timer_list",
  "/proc/timer_stats",
  "/proc/sched_debug",
  "/sys/firmware",
  "/sys/devices/virtual/powercap",
  "/proc/scsi",
];
const READONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
const PERSONALITIES = [0, 8, 131072, 131080, 4294967295];
const NAMESPACE_FLAGS = 0x7e020000;
const ARCHITECTURES: Readonly<Record<string, readonly string[]>> = {
  x64: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
  arm64: ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
};

/** The process of a container, or another one in it. */
export function processConfig(
  process: ProcessSpec,
  { privileged, ulimits }: Pick<ContainerSpec, "privileged" | "ulimits">,
): object {
  const capabilities = privileged ? ALL_CAPABILITIES.filter(heldByUs) : CAPABILITIES;
  return {
    user: {
      uid: process.uid,
      gid: process.gid,
      ...(maySetGroups() && { additionalGids: process.additionalGids }),
    },
    args: process.args,
    env: process.env,
    cwd: process.cwd,
    ...(process.hasTerminal && { terminal: true }),
    capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
    ...(ulimits.length > 0 && {
      rlimits: ulimits.map(({ Name, Soft, Hard }) => ({
        type: `RLIMIT_${Name.toUpperCase()}`,
        soft: Soft,
        hard: Hard,
      })),
    }),
  };
}

export function runtimeConfig(
  spec: ContainerSpec,
  { cgroups, seccompFilter }: { readonly cgroups: boolean; readonly seccompFilter?: string },
  cgroupsPath: string,
): object {
  const namespaces = [
    "pid",
    "ipc",
    "uts",
    "mount",
    ...(cgroups ? ["cgroup"] : []),
    ...(spec.network === "none" ? ["network"] : []),
  ];
  return {
    ociVersion: "1.0.2",
    process: processConfig(spec.process, spec),
    root: { path: spec.root, readonly: spec.readonlyRoot },
    hostname: spec.hostname,
    ...(seccompFilter !== undefined &&
      !spec.privileged && { annotations: { "run.oci.seccomp_bpf_data": seccompFilter } }),
    ...(spec.hooks.length > 0 && { hooks: hooksByName(spec.hooks) }),
    mounts: [...systemMounts(spec, cgroups), ...userMounts(spec)],
    linux: {
      namespaces: namespaces.map((type) => ({ type })),
      ...(cgroups && { cgroupsPath }),
      ...(spec.devices.length > 0 && { devices: spec.devices.map(deviceNode) }),
      resources: {
        devices: [
          { allow: spec.privileged, access: "rwm" },
          ...spec.devices.map(({ type, major, minor, permissions }) => ({
            allow: true,
            type,
            major,
            minor,
            access: permissions,
          })),
        ],
      },
      ...(!spec.privileged && { maskedPaths: MASKED, readonlyPaths: READONLY, seccomp: seccomp() }),
    },
  };
}

function deviceNode({
  path,
  type,
  major,
  minor,
  fileMode,
  uid,
  gid,
}: ContainerSpec["devices"][number]): object {
  return { path, type, major, minor, fileMode, uid, gid };
}

function hooksByName(hooks: ContainerSpec["hooks"]): Record<string, object[]> {
  const named: Record<string, object[]> = {};
  for (const { hookName, ...hook } of hooks) (named[hookName] ??= []).push(hook);
  return named;
}

/** Capabilities by number, as the kernel's masks have them. */
const NUMBERS = [
  "CHOWN",
  "DAC_OVERRIDE",
  "DAC_READ_SEARCH",
  "FOWNER",
  "FSETID",
  "KILL",
  "SETGID",
  "SETUID",
  "SETPCAP",
  "LINUX_IMMUTABLE",
  "NET_BIND_SERVICE",
  "NET_BROADCAST",
  "NET_ADMIN",
  "NET_RAW",
  "IPC_LOCK",
  "IPC_OWNER",
  "SYS_MODULE",
  "SYS_RAWIO",
  "SYS_CHROOT",
  "SYS_PTRACE",
  "SYS_PACCT",
  "SYS_ADMIN",
  "SYS_BOOT",
  "SYS_NICE",
  "SYS_RESOURCE",
  "SYS_TIME",
  "SYS_TTY_CONFIG",
  "MKNOD",
  "LEASE",
  "AUDIT_WRITE",
  "AUDIT_CONTROL",
  "SETFCAP",
  "MAC_OVERRIDE",
  "MAC_ADMIN",
  "SYSLOG",
  "WAKE_ALARM",
  "BLOCK_SUSPEND",
  "AUDIT_READ",
  "PERFMON",
  "BPF",
  "CHECKPOINT_RESTORE",
];

/** A privileged step gets what this process may have; asking for more fails. */
function heldByUs(capability: string): boolean {
  const mask = /^CapBnd:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0";
  return ((BigInt(`0x${mask}`) >> BigInt(NUMBERS.indexOf(capability.slice("CAP_".length)))) & 1n) === 1n;
}

function systemMounts(spec: ContainerSpec, cgroups: boolean): object[] {
  const writable = spec.privileged ? "rw" : "ro";
  const mounts = [
    { destination: "/proc", type: "proc", source: "proc", options: ["nosuid", "noexec", "nodev"] },
    {
      destination: "/dev",
      type: "tmpfs",
      source: "tmpfs",
      options: ["nosuid", "strictatime", "mode=755", "size=65536k"],
    },
    {
      destination: "/dev/pts",
      type: "devpts",
      source: "devpts",
      options: [
        "nosuid",
        "noexec",
        "newinstance",
        "ptmxmode=0666",
        "mode=0620",
        ...(hasGroup(5) ? ["gid=5"] : []),
      ],
    },
    {
      destination: "/dev/shm",
      type: "tmpfs",
      source: "shm",
      options: ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
    },
    { destination: "/dev/mqueue", type: "mqueue", source: "mqueue", options: ["nosuid", "noexec", "nodev"] },
    // a user namespace cannot mount sysfs for a network that is not its own
    inUserNamespace() && spec.network === "host"
      ? {
          destination: "/sys",
          type: "bind",
          source: "/sys",
          options: ["rbind", "nosuid", "noexec", "nodev", "ro"],
        }
      : {
          destination: "/sys",
          type: "sysfs",
          source: "sysfs",
          options: ["nosuid", "noexec", "nodev", writable],
        },
    ...(cgroups
      ? [
          {
            destination: "/sys/fs/cgroup",
            type: "cgroup",
            source: "cgroup",
            options: [writable, "nosuid", "noexec", "nodev"],
          },
        ]
      : []),
  ];
  return mounts.filter((mount) => !spec.mounts.some((own) => own.destination === mount.destination));
}

function userMounts(spec: ContainerSpec): object[] {
  return spec.mounts.map(({ destination, source, type, readonly }) =>
    type === "tmpfs"
      ? {
          destination,
          type: "tmpfs",
          source: "tmpfs",
          options: [
            "nosuid",
            "mode=1777",
            ...(readonly ? ["ro"] : []),
            ...(source === "" ? [] : [`size=${source}`]),
          ],
        }
      : { destination, type: "bind", source, options: ["rbind", readonly ? "ro" : "rw", "rprivate"] },
  );
}

function seccomp(): object {
  const own = ALLOWED_ON[process.arch === "x64" ? "amd64" : process.arch] ?? [];
  return {
    defaultAction: "SCMP_ACT_ERRNO",
    defaultErrnoRet: 1,
    architectures: ARCHITECTURES[process.arch] ?? [],
    syscalls: [
      { names: [...ALLOWED, ...own], action: "SCMP_ACT_ALLOW" },
      { names: ["socket"], action: "SCMP_ACT_ALLOW", args: [{ index: 0, value: 40, op: "SCMP_CMP_NE" }] },
      ...PERSONALITIES.map((value) => ({
        names: ["personality"],
        action: "SCMP_ACT_ALLOW",
        args: [{ index: 0, value, op: "SCMP_CMP_EQ" }],
      })),
      // no new namespaces
      {
        names: ["clone"],
        action: "SCMP_ACT_ALLOW",
        args: [{ index: 0, value: NAMESPACE_FLAGS, valueTwo: 0, op: "SCMP_CMP_MASKED_EQ" }],
      },
      { names: ["clone3"], action: "SCMP_ACT_ERRNO", errnoRet: 38 },
    ],
  };
}
