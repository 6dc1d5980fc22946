// Patterns with wildcards as a list of steps, and two ways to match them: as a regular expression where that is quick,
// else by following all possibilities at once. A regular expression with many wildcards can take forever; this cannot.

export type Step =
  /** one character */
  | { readonly kind: "one"; readonly source: string; readonly is: (c: string) => boolean }
  /** any number of characters, of folder names only if `inName` */
  | { readonly kind: "many"; readonly inName: boolean }
  /** any number of whole folders: "", "a/", "a/b/" */
  | { readonly kind: "folders" };

export interface TextMatcher {
  test(text: string): boolean;
}

/** With more wildcards than this a regular expression is no longer quick in every case. */
const QUICK = 2;

export function literal(c: string): Step {
  return { kind: "one", source: c.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&"), is: (other) => other === c };
}

export const ANY_CHARACTER: Step = { kind: "one", source: ".", is: () => true };
export const ANY_IN_NAME: Step = { kind: "one", source: "[^/]", is: (c) => c !== "/" };

/** Matches whole texts. */
export function compileGlob(steps: readonly Step[]): TextMatcher {
  const wild = steps.filter(({ kind }) => kind !== "one").length;
  if (wild <= QUICK) return new RegExp(`^${steps.map(sourceOf).join("")}$`, "su");
  return { test: (text) => new Run(steps).feed([...text]) };
}

function sourceOf(step: Step): string {
  if (step.kind === "one") return step.source;
  if (step.kind === "folders") return "(?:.*/)?";
  return step.inName ? "[^/]*" : ".*";
}

/** Lengths (in characters) of the shortest and longest beginnings of a text that match. */
export function matchingPrefixes(
  steps: readonly Step[],
  characters: readonly string[],
  from = 0,
): { shortest: number; longest: number } | undefined {
  const run = new Run(steps);
  let found: { shortest: number; longest: number } | undefined;
  for (let length = 0; ; length++) {
    if (run.isMatch) found = { shortest: found?.shortest ?? length, longest: length };
    const c = characters[from + length];
    if (c === undefined || !run.step(c)) return found;
  }
}

/** All possibilities of a match, one character after another. */
class Run {
  readonly #steps: readonly Step[];
  #states = new Set<number>();

  constructor(steps: readonly Step[]) {
    this.#steps = steps;
    this.#enter(0, this.#states);
  }

  get isMatch(): boolean {
    return this.#states.has(this.#steps.length);
  }

  feed(characters: Iterable<string>): boolean {
    for (const c of characters) if (!this.step(c)) return false;
    return this.isMatch;
  }

  /** @returns whether any possibility is left */
  step(c: string): boolean {
    const next = new Set<number>();
    for (const i of this.#states) {
      const step = this.#steps[i];
      if (!step) continue;
      if (step.kind === "one") {
        if (step.is(c)) this.#enter(i + 1, next);
      } else if (step.kind === "many") {
        if (!step.inName || c !== "/") this.#enter(i, next);
      } else {
        next.add(i);
        if (c === "/") this.#enter(i + 1, next);
      }
    }
    this.#states = next;
    return next.size > 0;
  }

  /** Wildcards may also stand for nothing. */
  #enter(index: number, states: Set<number>): void {
    for (let i = index; ; i++) {
      states.add(i);
      const step = this.#steps[i];
      if (!step || step.kind === "one") return;
    }
  }
}
