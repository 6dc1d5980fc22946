// Errors and warnings that point at lines of a Dockerfile. The client prints the excerpt; see excerpt.ts.
import { BuildError, messageOf } from "../../lib/index.js";
import type { Range, SourceInfo } from "../../llb/index.js";

export interface SourceExcerpt {
  readonly filename: string;
  readonly data: Uint8Array;
  readonly ranges: readonly Range[];
}

/** An error about one place, or several, in a Dockerfile. */
export class SourceError extends BuildError {
  /** The places, outermost first; every wrapping adds one. */
  readonly places: readonly (readonly Range[])[];
  /** The file the places are in; set once it is known. */
  file: Pick<SourceInfo, "filename" | "data" | "definition"> | undefined;

  constructor(message: string, places: readonly (readonly Range[])[], cause?: unknown) {
    super("DOCKERFILE_INVALID", message, { cause });
    this.places = places;
  }

  /** Another error about the same places of the same file. */
  with(cause: unknown): SourceError {
    const error = new SourceError(messageOf(cause), this.places, cause);
    error.file = this.file;
    return error;
  }
}

export function lineRange(start: number, end: number = start): Range {
  return { start: { line: start, character: 0 }, end: { line: end, character: 0 } };
}

/** BuildKit records one range a line. */
export function eachLine({ start, end }: Range): Range[] {
  return Array.from({ length: end.line - start.line + 1 }, (_, i) => lineRange(start.line + i));
}

/** Adds a place to an error unless it has one already (`always` adds one more, as nested stages do). */
export function withLocation(error: unknown, ranges: readonly Range[] | undefined, always = false): unknown {
  if (ranges === undefined || ranges.length === 0) return error;
  if (error instanceof SourceError) {
    return always ? new SourceError(error.message, [...error.places, ranges], error.cause) : error;
  }
  const message = error instanceof Error ? error.message : String(error);
  const wrapped = new SourceError(message, [ranges], error);
  return wrapped;
}
