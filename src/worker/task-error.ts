import { BuildError } from "../lib/index.js";

/** An error of a task that has parts. */
export class TaskError extends BuildError {
  /** which of them failed: an index into the actions of a file op */
  readonly part: number | undefined;

  constructor(code: string, message: string, part: number | undefined, options: { cause?: unknown }) {
    super(code, message, options);
    this.part = part;
  }
}
