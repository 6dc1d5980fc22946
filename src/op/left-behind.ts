import type { Ref } from "../snapshot/index.js";

/** What an op that failed had in its hands, for those who want to look into it (BuildKit's errdefs.Solve). */
export interface LeftBehind {
  /** What it was given, scratch as `undefined`: by mount for a command, by input for a file op, alone for a key. */
  readonly inputs: readonly (Ref | undefined)[];
  /** What it had made of that: by mount for a command, by action for a file op. */
  readonly mounts: readonly (Ref | undefined)[];
  /** the action of a file op, or the input whose content has no key */
  readonly subject?: { readonly kind: "file" | "cache"; readonly index: number };
}
