// Shell patterns (*, ?, escapes), and what ${x#pattern}, ${x%pattern} and ${x/pattern/text} make of a value.
import { ANY_CHARACTER, literal, matchingPrefixes, type Step } from "../../../lib/index.js";

/** @throws Error if the pattern ends in an escape, or escapes what needs none */
function stepsOf(pattern: string): Step[] {
  const steps: Step[] = [];
  const chars = [...pattern];
  for (let i = 0; i < chars.length; i++) {
    const c = chars[i]!;
    if (c === "*") steps.push({ kind: "many", inName: false });
    else if (c === "?") steps.push(ANY_CHARACTER);
    else if (c === "\\") {
      const escaped = chars[++i];
      if (escaped === undefined) throw new Error("invalid escape '\\'");
      if (!"*?\\/".includes(escaped)) throw new Error(`invalid escape '\\${escaped}'`);
      steps.push(literal(escaped));
    } else steps.push(literal(c));
  }
  return steps;
}

/** Without the shortest beginning that matches, or the longest if `greedy`. */
export function trimPrefix(pattern: string, value: string, greedy: boolean): string {
  return trimmed(stepsOf(pattern), [...value], greedy).join("");
}

/** Without the shortest end that matches, or the longest if `greedy`. */
export function trimSuffix(pattern: string, value: string, greedy: boolean): string {
  // read backwards, an end is a beginning
  return trimmed(stepsOf(pattern).reverse(), [...value].reverse(), greedy)
    .reverse()
    .join("");
}

function trimmed(steps: readonly Step[], characters: string[], greedy: boolean): string[] {
  const found = matchingPrefixes(steps, characters);
  return found ? characters.slice(greedy ? found.longest : found.shortest) : characters;
}

/** With the first match replaced, or all of them; each as long as it can be. */
export function replacePattern(pattern: string, value: string, replacement: string, all: boolean): string {
  const steps = stepsOf(pattern);
  const isWild = steps.some(({ kind }) => kind === "many");
  const characters = [...value];
  const result: string[] = [];
  let at = 0;
  let isAfterMatch = false;
  while (at <= characters.length) {
    let length = matchingPrefixes(steps, characters, at)?.longest;
    // nothing is not found right after something
    if (length === 0 && isAfterMatch) length = undefined;
    if (length !== undefined) {
      result.push(replacement);
      at += length;
      if (!all) break;
    } else if (isWild && startsAt(steps, characters, at)) {
      // "*" reaches to the end: what is not found after one beginning is not found after a later one
      break;
    }
    isAfterMatch = length !== undefined && length > 0;
    if (isAfterMatch) continue;
    if (at < characters.length) result.push(characters[at]!);
    at++;
  }
  return result.concat(characters.slice(at)).join("");
}

/** Whether all before the first "*" matches at `at`. */
function startsAt(steps: readonly Step[], characters: readonly string[], at: number): boolean {
  const fixed = steps.slice(
    0,
    steps.findIndex(({ kind }) => kind === "many"),
  );
  return fixed.every((step, i) => {
    const c = characters[at + i];
    return c !== undefined && step.kind === "one" && step.is(c);
  });
}
