// .dockerignore files: one pattern a line, comments, "!" for exceptions (moby/patternmatcher's ignorefile).
import { posix } from "node:path";

export function readIgnoreFile(data: Uint8Array | undefined): string[] {
  if (!data) return [];
  const patterns: string[] = [];
  const text = Buffer.from(data)
    .toString("utf8")
    .replace(/^\uFEFF/, "");
  for (const line of text.split("\n")) {
    if (line.startsWith("#")) continue;
    let pattern = line.trim();
    if (pattern === "") continue;
    const invert = pattern.startsWith("!");
    if (invert) pattern = pattern.slice(1).trim();
    if (pattern !== "") {
      pattern = posix.normalize(pattern);
      if (pattern.length > 1 && pattern.endsWith("/")) pattern = pattern.slice(0, -1);
      if (pattern.length > 1 && pattern.startsWith("/")) pattern = pattern.slice(1);
    }
    patterns.push(invert ? `!${pattern}` : pattern);
  }
  return patterns;
}
