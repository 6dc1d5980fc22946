// The --flags between an instruction and its arguments. Quotes and escapes keep blanks inside a flag together.

export function takeFlags(line: string, escape: string): { flags: string[]; rest: string } {
  const flags: string[] = [];
  let position = 0;
  while (position < line.length) {
    while (position < line.length && /\s/.test(line[position]!)) position++;
    if (!line.startsWith("--", position)) return { flags, rest: line.slice(position) };
    let word = "";
    let quote = "";
    for (; position < line.length; position++) {
      const c = line[position]!;
      if (quote === "" && /\s/.test(c)) break;
      if (c === escape && position + 1 < line.length && (quote === "" || c === escape)) {
        word += line[++position]!;
        continue;
      }
      if (quote === "" && (c === '"' || c === "'")) quote = c;
      else if (c === quote) quote = "";
      else word += c;
    }
    if (word === "--") return { flags, rest: line.slice(position).trimStart() };
    flags.push(word);
  }
  return { flags, rest: "" };
}
