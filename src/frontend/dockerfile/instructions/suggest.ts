// "did you mean": the closest of the known words, if it is close enough (at most two edits, as BuildKit has it).

export function suggest(
  message: string,
  word: string,
  known: readonly string[],
  ignoreCase: boolean,
): string {
  const match = closest(word, known, ignoreCase);
  return match === undefined ? message : `${message} (did you mean ${match}?)`;
}

export function closest(word: string, known: readonly string[], ignoreCase: boolean): string | undefined {
  const fold = (text: string): string => (ignoreCase ? text.toLowerCase() : text);
  const tolerance = 2;
  let best: { text: string; distance: number } | undefined;
  for (const text of known) {
    const distance = levenshtein(fold(word), fold(text));
    if (distance === 0) return undefined;
    if (distance <= tolerance && distance < (best?.distance ?? tolerance + 1)) best = { text, distance };
  }
  return best?.text;
}

function levenshtein(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    row = next;
  }
  return row[b.length]!;
}
