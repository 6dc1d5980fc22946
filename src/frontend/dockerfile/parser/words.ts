// The arguments of an instruction, in the form that instruction takes them.

export interface Arguments {
  readonly args: readonly string[];
  readonly json: boolean;
}

const NO_ARGUMENTS: Arguments = { args: [], json: false };

export function parseArguments(instruction: string, rest: string, escape: string): Arguments {
  switch (instruction) {
    case "ADD":
    case "COPY":
    case "VOLUME":
      return jsonArray(rest) ?? splitBlanks(rest);
    case "RUN":
    case "CMD":
    case "ENTRYPOINT":
    case "SHELL":
      return jsonArray(rest) ?? whole(rest);
    case "ENV":
      return nameValues(rest, "ENV", escape);
    case "LABEL":
      return nameValues(rest, "LABEL", escape);
    case "ARG":
      return { args: quotedWords(rest, escape), json: false };
    case "EXPOSE":
    case "FROM":
      return splitBlanks(rest);
    case "HEALTHCHECK":
      return healthcheck(rest);
    default:
      return whole(rest);
  }
}

function whole(rest: string): Arguments {
  return rest === "" ? NO_ARGUMENTS : { args: [rest], json: false };
}

function splitBlanks(rest: string): Arguments {
  return rest === "" ? NO_ARGUMENTS : { args: rest.split(/[\t\v\f\r ]+/), json: false };
}

function healthcheck(rest: string): Arguments {
  if (rest === "") return NO_ARGUMENTS;
  const [, type, command] = /^(\S+)\s*([\s\S]*)$/.exec(rest)!;
  const parsed = jsonArray(command!) ?? whole(command!);
  return { args: [type!, ...parsed.args], json: parsed.json };
}

/** A JSON array of strings and nothing after it; anything else is text. */
function jsonArray(rest: string): Arguments | undefined {
  const text = rest.trimStart();
  if (!text.startsWith("[")) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!Array.isArray(value)) return undefined;
  if (!value.every((item) => typeof item === "string")) {
    throw new Error("when using JSON array syntax, arrays must be comprised of strings only");
  }
  return { args: value, json: true };
}

/** "a=b c=d" or the old "a b c" as a flat list: name, value, separator. */
function nameValues(rest: string, key: string, escape: string): Arguments {
  const words = quotedWords(rest, escape);
  if (words.length === 0) return NO_ARGUMENTS;
  if (!words[0]!.includes("=")) {
    const match = /^(\S+)[\t\v\f\r ]+([\s\S]+)$/.exec(rest);
    if (!match) throw new Error(`${key} must have two arguments`);
    return { args: [match[1]!, match[2]!, ""], json: false };
  }
  const args: string[] = [];
  for (const word of words) {
    const at = word.indexOf("=");
    if (at < 0) {
      throw new Error(`Syntax error - can't find = in ${goQuote(word)}. Must be of the form: name=value`);
    }
    args.push(word.slice(0, at), word.slice(at + 1), "=");
  }
  return { args, json: false };
}

/** Go's %q for ordinary text. */
export function goQuote(text: string): string {
  return JSON.stringify(text);
}

/** Words separated by blanks; quotes and escapes stay in the words. */
function quotedWords(rest: string, escape: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  let quote = "";
  for (let i = 0; i < rest.length; i++) {
    const c = rest[i]!;
    if (quote === "" && /\s/.test(c)) {
      if (word !== undefined) words.push(word);
      word = undefined;
      continue;
    }
    word ??= "";
    if (c === escape && quote !== "'" && i + 1 < rest.length) {
      word += c + rest[++i]!;
      continue;
    }
    if (quote === "" && (c === '"' || c === "'")) quote = c;
    else if (c === quote) quote = "";
    word += c;
  }
  if (word !== undefined) words.push(word);
  return words;
}
