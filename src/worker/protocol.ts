// What goes between the build and its threads.
import type { WindowSize } from "../linux/index.js";
import type { TaskName } from "./types.js";

export type ThreadMessage =
  | { readonly kind: "task"; readonly id: number; readonly task: TaskName; readonly params: unknown }
  /** of a process's standard input; `undefined` is its end */
  | { readonly kind: "input"; readonly id: number; readonly chunk: Uint8Array | undefined }
  | { readonly kind: "signal"; readonly id: number; readonly signal: string }
  | { readonly kind: "resize"; readonly id: number; readonly size: WindowSize }
  | { readonly kind: "abort"; readonly id: number }
  /** what it does is aborted, and the thread ends once that has */
  | { readonly kind: "end" };

export type ThreadReply =
  | { readonly kind: "result"; readonly id: number; readonly result: unknown }
  | {
      readonly kind: "error";
      readonly id: number;
      readonly code: string;
      readonly message: string;
      readonly stack: string;
      /** which part of the task failed, if it has parts: an action of a file op */
      readonly part: number | undefined;
    }
  | { readonly kind: "started"; readonly id: number }
  | { readonly kind: "shown"; readonly id: number; readonly root: string }
  | { readonly kind: "output"; readonly id: number; readonly stream: 1 | 2; readonly chunk: Uint8Array };
