// What a build tells while it runs: BuildKit's status vocabulary as one union. Times are milliseconds since 1970.

export interface ProgressVertex {
  /** digest, or another id for steps that are not ops */
  readonly digest: string;
  readonly name: string;
  readonly inputs: readonly string[];
  readonly started?: number;
  readonly completed?: number;
  readonly cached?: boolean;
  readonly error?: string;
}

export type ProgressEvent =
  | { readonly kind: "vertex"; readonly vertex: ProgressVertex }
  | {
      readonly kind: "status";
      readonly vertex: string;
      readonly id: string;
      readonly current: number;
      readonly total: number;
      readonly started: number;
      readonly completed?: number;
    }
  | {
      readonly kind: "log";
      readonly vertex: string;
      readonly stream: 1 | 2;
      readonly data: Uint8Array;
      readonly time: number;
    }
  | { readonly kind: "warning"; readonly vertex: string; readonly text: string };

export interface ProgressListener {
  (event: ProgressEvent): void;
}
