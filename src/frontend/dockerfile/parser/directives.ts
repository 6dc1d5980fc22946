// Parser directives: "# name=value" lines above everything else. The first other line ends them; unknown names too.
import { lineRange, SourceError } from "../source-error.js";
import type { Directive } from "./types.js";

const FORM = /^#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*$/;
const KNOWN = new Set(["syntax", "escape", "check"]);

export function parseDirectives(lines: readonly string[]): Map<string, Directive> {
  const found = new Map<string, Directive>();
  for (const [index, line] of lines.entries()) {
    const match = FORM.exec(line.replace(/\r?\n$/, ""));
    const name = match?.[1]!.toLowerCase();
    if (!match || name === undefined || !KNOWN.has(name)) break;
    const range = lineRange(index + 1);
    if (found.has(name)) throw new SourceError(`only one ${name} parser directive can be used`, [[range]]);
    found.set(name, { name, value: match[2]!, range });
  }
  return found;
}
