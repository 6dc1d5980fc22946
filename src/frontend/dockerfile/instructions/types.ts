// Typed instructions: what each node means, still with variables in it.
import type { CacheSharing, MountType, Range } from "../../../llb/index.js";
import type { Heredoc } from "../parser/index.js";

export interface KeyValue {
  readonly key: string;
  readonly value: string;
  /** "a b" instead of "a=b" */
  readonly noDelimiter: boolean;
}

interface Common {
  /** the line as written, with its flags */
  readonly original: string;
  readonly range: Range;
  readonly comments: readonly string[];
  readonly fromOnbuild: boolean;
}

export interface ShellCommand {
  readonly args: readonly string[];
  /** JSON form: no shell */
  readonly exec: boolean;
}

export interface MountFlag {
  readonly type: MountType;
  readonly from: string;
  readonly source: string;
  readonly target: string;
  readonly readonly: boolean;
  readonly size: number;
  readonly cacheId: string;
  readonly cacheSharing: CacheSharing | "";
  readonly required: boolean;
  /** secrets only: name of an environment variable */
  readonly env: string | undefined;
  readonly mode: number | undefined;
  readonly uid: number | undefined;
  readonly gid: number | undefined;
}

export interface CopyFlags {
  readonly chown: string;
  readonly chmod: string;
  readonly link: boolean;
  readonly parents: boolean;
  readonly exclude: readonly string[];
}

export type Instruction = Common &
  (
    | {
        readonly kind: "ADD";
        readonly sources: readonly string[];
        readonly dest: string;
        readonly heredocs: readonly Heredoc[];
        readonly flags: CopyFlags;
        readonly keepGitDir: boolean | undefined;
        readonly checksum: string;
        readonly unpack: boolean | undefined;
      }
    | {
        readonly kind: "COPY";
        readonly sources: readonly string[];
        readonly dest: string;
        readonly heredocs: readonly Heredoc[];
        readonly flags: CopyFlags;
        readonly from: string;
      }
    | {
        readonly kind: "RUN";
        readonly command: ShellCommand;
        readonly heredocs: readonly Heredoc[];
        readonly mounts: readonly string[];
        readonly network: "default" | "none" | "host";
        readonly security: "sandbox" | "insecure";
        readonly devices: readonly string[];
      }
    | { readonly kind: "CMD" | "ENTRYPOINT"; readonly command: ShellCommand }
    | { readonly kind: "ENV" | "LABEL"; readonly pairs: readonly KeyValue[] }
    | {
        readonly kind: "ARG";
        readonly pairs: readonly { readonly key: string; readonly value: string | undefined }[];
      }
    | { readonly kind: "EXPOSE"; readonly ports: readonly string[] }
    | { readonly kind: "VOLUME"; readonly volumes: readonly string[] }
    | { readonly kind: "USER"; readonly user: string }
    | { readonly kind: "WORKDIR"; readonly path: string }
    | { readonly kind: "STOPSIGNAL"; readonly signal: string }
    | { readonly kind: "MAINTAINER"; readonly maintainer: string }
    | { readonly kind: "SHELL"; readonly shell: readonly string[] }
    | { readonly kind: "ONBUILD"; readonly expression: string }
    | { readonly kind: "HEALTHCHECK"; readonly check: Healthcheck }
  );

/** Times in nanoseconds, as Docker's image config has them. */
export interface Healthcheck {
  readonly Test: readonly string[];
  readonly Interval?: number;
  readonly Timeout?: number;
  readonly StartPeriod?: number;
  readonly StartInterval?: number;
  readonly Retries?: number;
}

export type InstructionOf<K extends Instruction["kind"]> = Extract<Instruction, { kind: K }>;

export interface Stage {
  /** lower case; empty if not named */
  readonly name: string;
  readonly originalName: string;
  readonly baseName: string;
  readonly platform: string;
  readonly commands: readonly Instruction[];
  readonly sourceCode: string;
  readonly range: Range;
  readonly comments: readonly string[];
}

export interface DockerfileTree {
  readonly metaArgs: readonly InstructionOf<"ARG">[];
  readonly stages: readonly Stage[];
}
