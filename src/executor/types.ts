// What a build step's container is: a root, mounts and a process. Source of the format: OCI runtime specification;
// defaults are BuildKit's.

export interface ContainerMount {
  readonly destination: string;
  /** host path, or for tmpfs its size in bytes ("" for the default) */
  readonly source: string;
  readonly type: "bind" | "tmpfs";
  readonly readonly: boolean;
}

export interface ContainerDevice {
  readonly path: string;
  /** "c", "b", "p" or "u" */
  readonly type: string;
  readonly major: number;
  readonly minor: number;
  /** of "rwm" */
  readonly permissions: string;
  readonly fileMode?: number | undefined;
  readonly uid?: number | undefined;
  readonly gid?: number | undefined;
}

export interface ContainerHook {
  readonly path: string;
  readonly args?: readonly string[];
  readonly env?: readonly string[];
  /** seconds */
  readonly timeout?: number;
}

/** What devices add to a container. */
export interface ContainerEdits {
  readonly env: readonly string[];
  readonly devices: readonly ContainerDevice[];
  readonly mounts: readonly ContainerMount[];
  /** `hookName` as the OCI runtime specification has it: "createRuntime", "createContainer", ... */
  readonly hooks: readonly ({ readonly hookName: string } & ContainerHook)[];
  readonly additionalGids: readonly number[];
}

/** What containers resolve names with, where it is not the host's; what is empty is the host's all the same. */
export interface DnsSettings {
  readonly nameservers: readonly string[];
  readonly searchDomains: readonly string[];
  readonly options: readonly string[];
}

export interface ProcessSpec {
  readonly args: readonly string[];
  readonly env: readonly string[];
  readonly cwd: string;
  readonly uid: number;
  readonly gid: number;
  readonly additionalGids: readonly number[];
  readonly hasTerminal?: boolean;
}

export interface ContainerSpec {
  /** host path */
  readonly root: string;
  readonly readonlyRoot: boolean;
  readonly process: ProcessSpec;
  readonly mounts: readonly ContainerMount[];
  readonly hostname: string;
  readonly network: "host" | "none";
  readonly privileged: boolean;
  /** --cgroup-parent; "" for the runtime's own place */
  readonly cgroupParent: string;
  readonly devices: readonly ContainerDevice[];
  readonly hooks: ContainerEdits["hooks"];
  readonly ulimits: readonly { readonly Name: string; readonly Soft: number; readonly Hard: number }[];
}
