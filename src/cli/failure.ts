// How a failed build ends: the step's output, the excerpt of the Dockerfile, the error, as buildx prints them.
import { BuildError, messageOf } from "../lib/index.js";
import type { Range } from "../llb/index.js";
import { SourceError } from "../frontend/index.js";
import { redact } from "./specs.js";

export interface FailedStep {
  readonly name: string;
  /** its last lines of output, each with the time before it */
  readonly lines: readonly string[];
}

export interface Place {
  readonly filename: string;
  readonly data: Uint8Array;
  readonly ranges: readonly Range[];
}

export function failureText(
  error: unknown,
  steps: readonly FailedStep[],
  warnings: string,
  places: readonly Place[],
  debug: boolean,
): string {
  const parts: string[] = [];
  for (const { name, lines } of steps) parts.push("------", ` > ${name}:`, ...lines, "------");
  if (warnings !== "") parts.push(warnings.replace(/\n$/, ""));
  for (const place of places) parts.push(...excerpt(place));
  parts.push(`ERROR: failed to build: failed to solve: ${redact(messageOf(error))}`);
  if (debug && error instanceof Error) parts.push(redact(error.stack ?? ""));
  return `${parts.join("\n")}\n`;
}

/** An error before the build began: a flag, a file. */
export function plainFailure(error: unknown, debug: boolean): string {
  const stack = debug && error instanceof Error ? `\n${redact(error.stack ?? "")}` : "";
  return `ERROR: ${redact(messageOf(error))}${stack}\n`;
}

export function placesOf(error: unknown): readonly Place[] {
  if (!(error instanceof SourceError) || !error.file) return [];
  const { filename, data } = error.file;
  return error.places.filter((ranges) => ranges.length > 0).map((ranges) => ({ filename, data, ranges }));
}

/** The lines concerned with a few around them, marked ">>>". */
export function excerpt({ filename, data, ranges }: Place): string[] {
  const lines = Buffer.from(data).toString("utf8").split("\n");
  let start = Math.min(...ranges.map((range) => range.start.line));
  let end = Math.max(...ranges.map((range) => range.end.line));
  if (start < 1 || start > lines.length) return [];
  const first = start;
  end = Math.min(end, lines.length);
  let padding = 0;
  while (end - start < 4 && padding < 2) {
    padding++;
    const before = [start, end];
    if (start > 1) start--;
    if (end < lines.length) end++;
    if (before[0] === start && before[1] === end) break;
  }
  const marked = (line: number): boolean =>
    ranges.some((range) => range.start.line <= line && line <= range.end.line);
  const body: string[] = [];
  for (let line = start; line <= end; line++) {
    body.push(
      `${String(line).padStart(4)} | ${marked(line) ? ">>>" : "   "} ${lines[line - 1]!.replace(/\r$/, "")}`,
    );
  }
  return [`${filename}:${first}`, "--------------------", ...body, "--------------------"];
}

export function exitCodeOf(error: unknown): number {
  return error instanceof BuildError && error.code === "CANCELED" ? 130 : 1;
}
