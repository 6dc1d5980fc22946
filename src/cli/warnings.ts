// The linter's warnings at the end of a build, as buildx lists them.
import type { ProgressWarning } from "../progress/index.js";
import { excerpt } from "./failure.js";

/** @param isDetailed with explanations and excerpts */
export function warningSummary(warnings: readonly ProgressWarning[], isDetailed: boolean): string {
  if (warnings.length === 0) return "";
  const count = warnings.length === 1 ? "1 warning" : `${warnings.length} warnings`;
  const hint = isDetailed ? "" : " (use docker --debug to expand)";
  const parts = [`\n \x1b[33m${count} found${hint}:\n\x1b[0m`];
  for (const { text, about } of warnings) {
    parts.push(` - ${text}\n`);
    if (!isDetailed || !about) continue;
    const { detail, url, source, ranges } = about;
    for (const line of detail) parts.push(`${line}\n`);
    parts.push(`More info: ${url}\n`);
    parts.push(
      ...excerpt({ filename: source.filename, data: source.data, ranges }).map((line) => `${line}\n`),
    );
    parts.push("\n");
  }
  return parts.join("");
}
