// Here-document markers of a line: <<EOF, <<-EOF, <<"EOF", 3<<EOF.
import { splitWords } from "../shell/index.js";
import type { Heredoc } from "./types.js";

const MARKER = /^(\d*)<<(-?)([^<]*)$/;

export function findHeredocs(line: string): Omit<Heredoc, "content">[] {
  const words = splitWords(line, () => undefined, {
    rawQuotes: true,
    rawEscapes: true,
    skipUnset: true,
    escape: "\\",
  });
  return words.map(parseHeredoc).filter((heredoc) => heredoc !== undefined);
}

/** The here-document that a word announces. */
export function parseHeredoc(word: string): Omit<Heredoc, "content"> | undefined {
  const match = MARKER.exec(word);
  if (!match || match[3] === "") return undefined;
  const rest = match[3]!;
  const names = splitWords(rest, () => undefined, {
    skipUnset: true,
    rawQuotes: false,
    rawEscapes: false,
    escape: "\\",
  });
  const raw = splitWords(rest, () => undefined, {
    skipUnset: true,
    rawQuotes: true,
    rawEscapes: true,
    escape: "\\",
  });
  if (names.length !== 1 || raw.length !== 1) return undefined;
  return {
    name: names[0]!,
    expand: names[0] === raw[0],
    chomp: match[2] === "-",
    fileDescriptor: match[1] === "" ? 0 : Number(match[1]),
  };
}

/** Strips the leading tabs of every line, as "<<-" asks for. */
export function chompTabs(content: string): string {
  return content.replace(/^\t+/gm, "");
}
