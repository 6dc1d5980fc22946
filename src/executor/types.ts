// What a build step's container is: a root, mounts and a process. Source of the format: OCI runtime specification;
// defaults are BuildKit's.

export interface ContainerMount {
  readonly destination: string;
  /** host path, or for tmpfs its size in bytes ("" for the default) */
  readonly source: string;
  readonly type: "bind" | "tmpfs";
  readonly readonly: boolean;
}

export interface ProcessSpec {
  readonly args: readonly string[];
  readonly env: readonly string[];
  readonly cwd: string;
  readonly uid: number;
  readonly gid: number;
  readonly additionalGids: readonly number[];
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
  readonly ulimits: readonly { readonly Name: string; readonly Soft: number; readonly Hard: number }[];
}
