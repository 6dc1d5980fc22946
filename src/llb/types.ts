// The vocabulary of the build graph: BuildKit's protobuf package `pb` (solver/pb/ops.proto) as plain read-only data.
// Optional properties are the fields protobuf leaves out; numbers stand for int64 where values stay small, `timestamp`
// (nanoseconds since 1970) is a bigint because it does not.
import type { Digest } from "../lib/index.js";

export interface Platform {
  readonly Architecture: string;
  readonly OS: string;
  readonly Variant?: string;
  readonly OSVersion?: string;
  readonly OSFeatures?: readonly string[];
}

export interface Input {
  readonly digest: Digest;
  /** which output of the op `digest` */
  readonly index: number;
}

export type OpBody =
  | { readonly kind: "source"; readonly source: SourceOp }
  | { readonly kind: "exec"; readonly exec: ExecOp }
  | { readonly kind: "file"; readonly file: FileOp }
  | { readonly kind: "merge"; readonly merge: MergeOp }
  | { readonly kind: "diff"; readonly diff: DiffOp }
  | { readonly kind: "build"; readonly build: BuildOp }
  /** the last op of a definition: nothing but an input */
  | { readonly kind: "return" };

export type Op = OpBody & {
  readonly inputs: readonly Input[];
  readonly platform?: Platform;
  /** worker filters; `undefined` leaves the message out, as the returning op does */
  readonly constraints?: { readonly filter: readonly string[] };
};

export interface SourceOp {
  /** "docker-image://...", "local://context", "https://...", "git://...", "oci-layout://..." */
  readonly identifier: string;
  readonly attrs: Readonly<Record<string, string>>;
}

export interface ExecOp {
  readonly meta: ExecMeta;
  readonly mounts: readonly Mount[];
  readonly network: NetMode;
  readonly security: SecurityMode;
  readonly secretEnv: readonly SecretEnv[];
  readonly cdiDevices: readonly { readonly name: string; readonly optional: boolean }[];
}

export type NetMode = "UNSET" | "HOST" | "NONE";
export type SecurityMode = "SANDBOX" | "INSECURE";

export interface ExecMeta {
  readonly args: readonly string[];
  readonly env: readonly string[];
  readonly cwd: string;
  readonly user: string;
  readonly proxyEnv?: ProxyEnv;
  readonly extraHosts: readonly { readonly Host: string; readonly IP: string }[];
  readonly hostname: string;
  readonly ulimit: readonly { readonly Name: string; readonly Soft: number; readonly Hard: number }[];
  readonly cgroupParent: string;
  readonly removeMountStubsRecursive: boolean;
  readonly validExitCodes: readonly number[];
}

export interface ProxyEnv {
  readonly httpProxy: string;
  readonly httpsProxy: string;
  readonly ftpProxy: string;
  readonly noProxy: string;
  readonly allProxy: string;
}

export interface SecretEnv {
  readonly ID: string;
  readonly name: string;
  readonly optional: boolean;
}

export type MountType = "BIND" | "SECRET" | "SSH" | "CACHE" | "TMPFS";
export type CacheSharing = "SHARED" | "PRIVATE" | "LOCKED";

export interface Mount {
  /** index into the op's inputs, -1 for none */
  readonly input: number;
  /** the folder or file of the input that is mounted */
  readonly selector: string;
  readonly dest: string;
  /** index of the op's output, -1 for none */
  readonly output: number;
  readonly readonly: boolean;
  readonly mountType: MountType;
  readonly TmpfsOpt?: { readonly size: number };
  readonly cacheOpt?: { readonly ID: string; readonly sharing: CacheSharing };
  readonly secretOpt?: CredentialOpt;
  readonly SSHOpt?: CredentialOpt;
  readonly resultID: string;
  readonly contentCache: "DEFAULT" | "ON" | "OFF";
}

export interface CredentialOpt {
  readonly ID: string;
  readonly uid: number;
  readonly gid: number;
  readonly mode: number;
  readonly optional: boolean;
}

export interface FileOp {
  readonly actions: readonly FileAction[];
}

export type FileAction = {
  /** index of an input of the op, or inputs.length + n for the result of action n, or -1 for scratch */
  readonly input: number;
  /** where a copy reads from; same numbering */
  readonly secondaryInput: number;
  /** index of the op's output, -1 for none */
  readonly output: number;
} & FileActionBody;

export type FileActionBody =
  | { readonly kind: "copy"; readonly copy: FileActionCopy }
  | { readonly kind: "mkfile"; readonly mkfile: FileActionMkFile }
  | { readonly kind: "mkdir"; readonly mkdir: FileActionMkDir }
  | { readonly kind: "rm"; readonly rm: FileActionRm }
  | { readonly kind: "symlink"; readonly symlink: FileActionSymlink };

export interface FileActionCopy {
  readonly src: string;
  readonly dest: string;
  readonly owner?: ChownOpt;
  /** permission bits, or -1 to keep them */
  readonly mode: number;
  /** symbolic mode ("u=rwX,go=rX"); used instead of `mode` */
  readonly modeStr: string;
  readonly followSymlink: boolean;
  readonly dirCopyContents: boolean;
  readonly attemptUnpackDockerCompatibility: boolean;
  readonly createDestPath: boolean;
  readonly allowWildcard: boolean;
  readonly allowEmptyWildcard: boolean;
  readonly timestamp: bigint;
  readonly includePatterns: readonly string[];
  readonly excludePatterns: readonly string[];
  readonly alwaysReplaceExistingDestPaths: boolean;
  readonly requiredPaths: readonly string[];
}

export interface FileActionMkFile {
  readonly path: string;
  readonly mode: number;
  readonly data: Uint8Array;
  readonly owner?: ChownOpt;
  readonly timestamp: bigint;
}

export interface FileActionMkDir {
  readonly path: string;
  readonly mode: number;
  readonly makeParents: boolean;
  readonly owner?: ChownOpt;
  readonly timestamp: bigint;
}

export interface FileActionRm {
  readonly path: string;
  readonly allowNotFound: boolean;
  readonly allowWildcard: boolean;
}

export interface FileActionSymlink {
  readonly oldpath: string;
  readonly newpath: string;
  readonly owner?: ChownOpt;
  readonly timestamp: bigint;
}

export interface ChownOpt {
  readonly user?: UserOpt;
  readonly group?: UserOpt;
}

export type UserOpt =
  | { readonly kind: "byName"; readonly name: string; readonly input: number }
  | { readonly kind: "byID"; readonly id: number };

export interface MergeOp {
  /** indexes into the op's inputs, lowest first */
  readonly inputs: readonly number[];
}

export interface DiffOp {
  readonly lower: number;
  readonly upper: number;
}

/** A graph that an input has in a file. */
export interface BuildOp {
  /** -1: the daemon itself; there is no other */
  readonly builder: number;
  /** indexes of inputs; "buildkit.llb.definition" has the file */
  readonly inputs: Readonly<Record<string, number>>;
  /** "llbbuild.filename": the file, if it is not "buildkit.llb.definition" */
  readonly attrs: Readonly<Record<string, string>>;
}

export interface ProgressGroup {
  readonly id: string;
  readonly name: string;
  readonly weak: boolean;
}

export interface OpMetadata {
  readonly ignoreCache: boolean;
  readonly description: Readonly<Record<string, string>>;
  readonly caps: readonly string[];
  readonly progressGroup?: ProgressGroup;
}

/** Lines are counted from 1, characters from 0. */
export interface Position {
  readonly line: number;
  readonly character: number;
}

export interface Range {
  readonly start: Position;
  readonly end: Position;
}

export interface Location {
  /** index into `Source.infos` */
  readonly sourceIndex: number;
  readonly ranges: readonly Range[];
}

export interface SourceInfo {
  readonly filename: string;
  readonly data: Uint8Array;
  readonly definition?: Definition;
  readonly language: string;
}

export interface Source {
  readonly locations: ReadonlyMap<Digest, readonly Location[]>;
  readonly infos: readonly SourceInfo[];
}

export interface DefinitionOp {
  readonly digest: Digest;
  readonly op: Op;
  /** the exact bytes that `digest` is of */
  readonly bytes: Uint8Array;
  readonly metadata: OpMetadata;
}

/** A graph in the order BuildKit marshals it: inputs before their users, the returning op last. */
export interface Definition {
  readonly ops: readonly DefinitionOp[];
  readonly source?: Source;
}
