// Variable expansion and quote removal of Dockerfile words: $x, ${x}, ${x:-y} and the other modifiers of BuildKit's
// shell lexer, with its error texts.
import { goQuote } from "../parser/words.js";
import { replacePattern, trimPrefix, trimSuffix } from "./pattern.js";

export type Lookup = (name: string) => string | undefined;

export interface ExpandOptions {
  readonly escape: string;
  /** keep quotes in the result */
  readonly rawQuotes?: boolean;
  /** keep escape characters in the result */
  readonly rawEscapes?: boolean;
  /** leave variables that are not set as they are */
  readonly skipUnset?: boolean;
  /** quotes are ordinary characters */
  readonly ignoreQuotes?: boolean;
}

export interface Expansion {
  readonly text: string;
  readonly words: readonly string[];
  /** variables that had a value, and those that had none */
  readonly matched: ReadonlySet<string>;
  readonly unmatched: ReadonlySet<string>;
}

/** Carries the variables that had no value, for who warns of them. */
export class ExpansionError extends Error {
  readonly unmatched: ReadonlySet<string>;

  constructor(message: string, unmatched: ReadonlySet<string>, cause: unknown) {
    super(message, { cause });
    this.unmatched = unmatched;
  }
}

/** @throws ExpansionError `failed to process "WORD": ...` */
export function expandWord(word: string, lookup: Lookup, options: ExpandOptions): Expansion {
  const lexer = new Lexer(word, lookup, options);
  try {
    const text = lexer.until("");
    return { text, words: lexer.words.finish(), matched: lexer.matched, unmatched: lexer.unmatched };
  } catch (error) {
    const message = `failed to process ${goQuote(word)}: ${(error as Error).message}`;
    throw new ExpansionError(message, lexer.unmatched, error);
  }
}

/** The expanded text split at blanks; quoted blanks don't split. Text that cannot be processed has no words. */
export function splitWords(text: string, lookup: Lookup, options: ExpandOptions): readonly string[] {
  try {
    return expandWord(text, lookup, options).words;
  } catch {
    return [];
  }
}

/** Collects characters into words. */
class Words {
  readonly #words: string[] = [];
  #word = "";
  #inWord = false;

  /** A character that may separate words. */
  add(text: string): void {
    for (const c of text) {
      if (!/\s/.test(c)) this.raw(c);
      else if (this.#inWord) this.#push();
    }
  }

  /** Text that belongs to the word whatever it is. */
  raw(text: string): void {
    this.#word += text;
    this.#inWord = true;
  }

  finish(): string[] {
    if (this.#inWord) this.#push();
    return this.#words;
  }

  #push(): void {
    this.#words.push(this.#word);
    this.#word = "";
    this.#inWord = false;
  }
}

class Lexer {
  readonly #chars: string[];
  #at = 0;
  readonly #lookup: Lookup;
  readonly #options: ExpandOptions;
  words = new Words();
  readonly matched = new Set<string>();
  readonly unmatched = new Set<string>();

  constructor(text: string, lookup: Lookup, options: ExpandOptions) {
    this.#chars = [...text];
    this.#lookup = lookup;
    this.#options = options;
  }

  /** Everything up to `stop`, which is consumed; an empty `stop` means the end of the text. */
  until(stop: string, rawEscapes = this.#options.rawEscapes ?? false): string {
    let result = "";
    while (!this.#ended) {
      const c = this.#peek;
      if (stop !== "" && c === stop) {
        this.#at++;
        return result;
      }
      if ((c === "'" || c === '"') && !this.#options.ignoreQuotes) {
        const text = c === "'" ? this.#singleQuoted() : this.#doubleQuoted(rawEscapes);
        this.words.raw(text);
        result += text;
      } else if (c === "$") {
        const text = this.#variable();
        this.words.add(text);
        result += text;
      } else {
        this.#at++;
        if (c !== this.#options.escape) {
          this.words.add(c);
          result += c;
          continue;
        }
        if (rawEscapes) {
          this.words.raw(c);
          result += c;
        }
        if (this.#ended) break;
        const escaped = this.#next();
        this.words.raw(escaped);
        result += escaped;
      }
    }
    if (stop !== "") throw new Error(`unexpected end of statement while looking for matching ${stop}`);
    return result;
  }

  get #ended(): boolean {
    return this.#at >= this.#chars.length;
  }

  get #peek(): string {
    return this.#chars[this.#at] ?? "";
  }

  #next(): string {
    return this.#chars[this.#at++] ?? "";
  }

  #singleQuoted(): string {
    const raw = this.#options.rawQuotes ?? false;
    let result = raw ? "'" : "";
    this.#at++;
    for (;;) {
      if (this.#ended) throw new Error("unexpected end of statement while looking for matching single-quote");
      const c = this.#next();
      if (c === "'") return raw ? result + c : result;
      result += c;
    }
  }

  #doubleQuoted(rawEscapes: boolean): string {
    const raw = this.#options.rawQuotes ?? false;
    let result = raw ? '"' : "";
    this.#at++;
    for (;;) {
      if (this.#ended) throw new Error("unexpected end of statement while looking for matching double-quote");
      const c = this.#peek;
      if (c === '"') {
        this.#at++;
        return raw ? result + c : result;
      }
      if (c === "$") {
        result += this.#variable();
        continue;
      }
      this.#at++;
      if (c !== this.#options.escape) {
        result += c;
        continue;
      }
      if (rawEscapes) result += c;
      if (this.#ended) continue;
      const escapable = this.#peek === '"' || this.#peek === "$" || this.#peek === this.#options.escape;
      if (escapable) result += this.#next();
      else if (!rawEscapes) result += c;
    }
  }

  #get(name: string): string | undefined {
    const value = this.#lookup(name);
    (value === undefined ? this.unmatched : this.matched).add(name);
    return value;
  }

  #variable(): string {
    this.#at++;
    if (this.#peek !== "{") {
      const name = this.#name();
      if (name === "") return "$";
      const value = this.#get(name);
      return value ?? (this.#options.skipUnset ? `$${name}` : "");
    }
    this.#at++;
    if (this.#ended) throw new Error("syntax error: missing '}'");
    if (this.#peek === "{" || this.#peek === "}" || this.#peek === ":") {
      throw new Error("syntax error: bad substitution");
    }
    const name = this.#name();
    return this.#modified(name);
  }

  #modified(name: string): string {
    const skip = this.#options.skipUnset ?? false;
    let modifier = this.#ended ? "\uFFFD" : this.#next();
    let shown = modifier;
    if (modifier === "}") {
      const value = this.#get(name);
      return value ?? (skip ? `\${${name}}` : "");
    }
    const nullIsUnset = modifier === ":";
    if (nullIsUnset) {
      modifier = this.#ended ? "\uFFFD" : this.#next();
      shown += modifier;
    }
    if (modifier === "/" && !nullIsUnset) return this.#replaced(name, skip);
    const isTrim = modifier === "#" || modifier === "%";
    if (!["+", "-", "?", "#", "%"].includes(modifier) || (nullIsUnset && isTrim)) {
      throw new Error(`unsupported modifier (${shown}) in substitution`);
    }
    let word = this.#inner("}", isTrim, "syntax error: missing '}'");
    const value = this.#get(name);
    if (skip && value === undefined) return `\${${name}${shown}${word}}`;
    const missing = value === undefined || (nullIsUnset && value === "");
    switch (modifier) {
      case "-":
        return missing ? word : value;
      case "+":
        return missing ? "" : word;
      case "?":
        if (value === undefined) throw new Error(`${name}: ${word || "is not allowed to be unset"}`);
        if (missing) throw new Error(`${name}: ${word || "is not allowed to be empty"}`);
        return value;
      default: {
        const greedy = word.startsWith(modifier);
        if (greedy) word = word.slice(1);
        return (modifier === "%" ? trimSuffix : trimPrefix)(word, value ?? "", greedy);
      }
    }
  }

  #replaced(name: string, skip: boolean): string {
    const all = this.#peek === "/";
    if (all) this.#at++;
    const pattern = this.#inner("/", true, "syntax error: missing '/' in ${");
    const replacement = this.#inner("}", true, "syntax error: missing '}'");
    const value = this.#get(name);
    if (skip && value === undefined) return `\${${name}/${all ? "/" : ""}${pattern}/${replacement}}`;
    return replacePattern(pattern, value ?? "", replacement, all);
  }

  /** A nested part; its characters don't count as words of their own. */
  #inner(stop: string, rawEscapes: boolean, missing: string): string {
    const words = this.words;
    this.words = new Words();
    try {
      return this.until(stop, rawEscapes);
    } catch (error) {
      throw this.#ended ? new Error(missing) : error;
    } finally {
      this.words = words;
    }
  }

  #name(): string {
    if (/[0-9]/.test(this.#peek)) {
      let digits = "";
      while (/[0-9]/.test(this.#peek)) digits += this.#next();
      return digits;
    }
    if (!this.#ended && "@*#?-$!0".includes(this.#peek)) return this.#next();
    let name = "";
    while (!this.#ended && /[\p{L}\p{Nd}_]/u.test(this.#peek)) name += this.#next();
    return name;
  }
}
