// Work on trees, done in threads: each has a mount namespace of its own, so that no mount outlives the process and no
// synchronous file work blocks the build. Tasks are plain data; paths of layers are relative to the state folder.
import type { GrowingFile } from "../content/index.js";
import type { ContainerEdits, DnsSettings, RuntimeWish } from "../executor/index.js";
import type {
  AppliedLayer,
  ChecksumRequest,
  Compression,
  ConvertOptions,
  LayerBlob,
  Selection,
} from "../layer/index.js";
import type { Digest } from "../lib/index.js";
import type { FileAction } from "../llb/index.js";

/** A tree to look at: layers one over another, lowest first, or a folder of the host. */
export type Tree =
  | { readonly kind: "layers"; readonly layers: readonly string[] }
  /** one that stands on none and has no whiteouts: its folder is all there is to see */
  | { readonly kind: "whole"; readonly layer: string }
  | { readonly kind: "folder"; readonly path: string };

/** A tree to change: changes go to `upper`. */
export interface WritableTree {
  readonly layers: readonly string[];
  readonly upper: string;
  readonly work: string;
}

export interface ApplyTask {
  readonly file: string;
  /** what is known of the file while it is still being written */
  readonly growing?: GrowingFile | undefined;
  readonly mediaType: string;
  readonly target: string;
  readonly diffId: Digest | undefined;
}

/** Makes folders of a layer look as in the layers below, lowest first. */
export interface InheritTask {
  readonly target: string;
  readonly layers: readonly string[];
  /** of the folders, relative to the layer */
  readonly names: readonly string[];
}

export interface DiffTask {
  /** the layer, and the layers below it, lowest first */
  readonly layer: string;
  readonly layers: readonly string[];
  readonly file: string;
  readonly compression: Compression;
  readonly level: number | undefined;
  readonly clampTime: number | undefined;
}

/** A layer's blob in another compression. */
export interface ConvertTask extends ConvertOptions {
  readonly file: string;
}

export interface ChecksumTask {
  readonly tree: Tree;
  readonly anonymousRoot: boolean;
  readonly requests: readonly ChecksumRequest[];
  /** file of what is kept of earlier ones, relative to the state folder */
  readonly kept?: string | undefined;
}

export interface FileTask {
  readonly target: WritableTree;
  readonly actions: readonly FileAction[];
  /** for each action that copies: where from; `undefined` is scratch */
  readonly sources: readonly (Tree | undefined)[];
}

/** Copies what a step may see of a client's folder. */
export interface LocalTask extends Selection {
  readonly folder: string;
  readonly target: string;
  /** what came of it before */
  readonly previous?: PreviousFolder | undefined;
  /** file for what is copied, relative to the state folder */
  readonly listing?: string | undefined;
}

/** What a client's folder was. */
export interface PreviousFolder {
  /** relative to the state folder */
  readonly folder: string;
  /** what it was told to be; relative to the state folder */
  readonly listing: string;
  /** milliseconds since 1970 */
  readonly takenAt: number;
}

export interface LocalResult {
  /** all is as `previous` is, and nothing was put into `target` */
  readonly isSame: boolean;
  /** of files that were copied */
  readonly bytes: number;
}

/** Puts into `target` what has to be changed in `lower` to make it `upper`. */
export interface CompareTask {
  readonly lower: Tree;
  readonly upper: Tree;
  /** an empty folder, relative to the state folder */
  readonly target: string;
}

export interface RunMount {
  readonly destination: string;
  readonly readonly: boolean;
  readonly source:
    | {
        readonly kind: "tree";
        readonly tree: Tree;
        readonly selector: string;
        /** writes are dropped */ readonly scratch: boolean;
      }
    /** changes are kept */
    | { readonly kind: "writable"; readonly tree: WritableTree; readonly selector: string }
    | {
        readonly kind: "cache";
        readonly folder: string;
        readonly selector: string;
      }
    | { readonly kind: "tmpfs"; readonly size: number }
    | {
        readonly kind: "file";
        readonly data: Uint8Array;
        readonly mode: number;
        readonly uid: number;
        readonly gid: number;
      }
    /** a socket that leads to the agent at `path` */
    | {
        readonly kind: "agent";
        readonly path: string;
        readonly mode: number;
        readonly uid: number;
        readonly gid: number;
      };
}

export interface RunTask {
  readonly id: string;
  readonly target: WritableTree;
  readonly readonlyRoot: boolean;
  /** it has a standard input, and takes signals */
  readonly isInteractive?: boolean;
  /** of one that is interactive: it sits in front of a terminal, which is its output 1 */
  readonly hasTerminal?: boolean;
  readonly args: readonly string[];
  readonly env: readonly string[];
  readonly cwd: string;
  readonly user: string;
  readonly mounts: readonly RunMount[];
  readonly hostname: string;
  readonly extraHosts: readonly { readonly Host: string; readonly IP: string }[];
  readonly network: "host" | "none";
  readonly dns: DnsSettings | undefined;
  readonly privileged: boolean;
  readonly ulimits: readonly { readonly Name: string; readonly Soft: number; readonly Hard: number }[];
  readonly runtime: RuntimeWish;
  /** --cgroup-parent, or "" */
  readonly cgroupParent: string;
  readonly edits: ContainerEdits;
}

/** Another command in a container that runs. */
export interface ExecTask {
  /** its id */
  readonly container: string;
  readonly hasTerminal: boolean;
  readonly args: readonly string[];
  readonly env: readonly string[];
  readonly cwd: string;
  readonly user: string;
}

export interface ExportTask {
  readonly tree: Tree;
  /** a folder, or the tar file to write */
  readonly target: string;
  readonly format: "folder" | "tar";
  /** of all entries; seconds since 1970 */
  readonly time: number | undefined;
  /** of a folder: where it will be seen, for links that begin at the root ("/linux_amd64") */
  readonly linkRoot?: string | undefined;
}

export interface ReadTask {
  readonly tree: Tree;
  readonly paths: readonly string[];
  /** bytes of each */
  readonly limit: number;
}

export interface ListTask {
  readonly tree: Tree;
  readonly path: string;
  /** what is there itself, or what is in it */
  readonly kind: "entry" | "folder";
}

export interface TreeEntry {
  readonly name: string;
  /** with the bits of the type */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  /** nanoseconds since 1970 */
  readonly modTime: bigint;
  readonly linkname: string;
  readonly device: { readonly major: number; readonly minor: number };
  readonly xattrs: readonly (readonly [string, Uint8Array])[];
}

export interface TaskMap {
  apply: { params: ApplyTask; result: AppliedLayer };
  inherit: { params: InheritTask; result: void };
  diff: { params: DiffTask; result: LayerBlob };
  convert: { params: ConvertTask; result: LayerBlob };
  checksum: { params: ChecksumTask; result: Digest[] };
  file: { params: FileTask; result: undefined };
  compare: { params: CompareTask; result: undefined };
  local: { params: LocalTask; result: LocalResult };
  /** bytes that folders take on disk; `undefined` for one that is not there */
  usage: { params: { readonly folders: readonly string[] }; result: (number | undefined)[] };
  /** makes ready for containers */
  probe: { params: { readonly runtime: RuntimeWish }; result: undefined };
  exec: { params: ExecTask; result: { exitCode: number } };
  run: { params: RunTask; result: { exitCode: number } };
  /** until it is aborted */
  show: { params: { readonly tree: Tree }; result: void };
  export: { params: ExportTask; result: undefined };
  list: { params: ListTask; result: TreeEntry[] };
  /** for each path the highest of the layers that has it */
  locate: {
    params: { readonly layers: readonly string[]; readonly paths: readonly string[] };
    result: (number | undefined)[];
  };
  /** contents of files; `undefined` for one that is not there */
  read: { params: ReadTask; result: (Uint8Array | undefined)[] };
}

export type TaskName = keyof TaskMap;
