// What a build tells while it runs: BuildKit's status vocabulary as one union. Times are milliseconds since 1970.
import type { Range, SourceInfo } from "../llb/index.js";

export interface ProgressVertex {
  /** digest, or another id for steps that are not ops */
  readonly digest: string;
  readonly name: string;
  readonly inputs: readonly string[];
  readonly started?: number;
  readonly completed?: number;
  readonly cached?: boolean;
  /** where a cached step was found: "local", or the name of an import */
  readonly cacheSource?: string;
  readonly error?: string;
}

export type ProgressEvent =
  | { readonly kind: "vertex"; readonly vertex: ProgressVertex }
  | ProgressStatus
  | ProgressLog
  | ProgressWarning;

/** Output of a step: 1 is standard output, 2 standard error. */
export interface ProgressLog {
  readonly kind: "log";
  readonly vertex: string;
  readonly stream: 1 | 2;
  readonly data: Uint8Array;
  readonly time: number;
}

/** A part of a step. */
export interface ProgressStatus {
  readonly kind: "status";
  readonly vertex: string;
  readonly id: string;
  /** bytes so far */
  readonly current: number;
  /** bytes in all; 0 if it moves none, or nobody knows */
  readonly total: number;
  readonly started: number;
  readonly completed?: number;
}

export interface ProgressWarning {
  readonly kind: "warning";
  /** empty: about the build, not a step */
  readonly vertex: string;
  readonly text: string;
  /** how important it is: 1 the most, which it is if nothing is said */
  readonly level?: number;
  /** more than the line says: explanations, where to read on, the place in a Dockerfile */
  readonly about?: {
    readonly detail: readonly string[];
    readonly url: string;
    readonly source: SourceInfo;
    readonly ranges: readonly Range[];
  };
}

export interface ProgressListener {
  (event: ProgressEvent): void;
}
