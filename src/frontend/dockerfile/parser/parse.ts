// Text to nodes: directives, continuation lines, comments, here-documents. Follows BuildKit's parser, including its
// oddities (a comment inside a continued line is skipped, an empty one only warned about).
import { lineRange, SourceError } from "../source-error.js";
import { findHeredocs } from "./heredoc.js";
import { parseDirectives } from "./directives.js";
import { takeFlags } from "./flags.js";
import type { Heredoc, Node, ParsedDockerfile, ParseWarning } from "./types.js";
import { parseArguments } from "./words.js";

const HEREDOC_INSTRUCTIONS = new Set(["ADD", "COPY", "RUN"]);

/** @throws SourceError with the lines concerned */
export function parseDockerfile(data: Uint8Array): ParsedDockerfile {
  const text = Buffer.from(data)
    .toString("utf8")
    .replace(/^\uFEFF/, "");
  const lines = text === "" ? [] : text.split(/(?<=\n)/);
  const directives = parseDirectives(lines);
  const escape = directives.get("escape")?.value ?? "\\";
  if (escape !== "\\" && escape !== "`") {
    throw new SourceError(`invalid escape token '${escape}' does not match \` or \\`, [[lineRange(0)]]);
  }
  const continuation = escape === "\\" ? /([^\\])\\[ \t]*$|^\\[ \t]*$/ : /([^`])`[ \t]*$|^`[ \t]*$/;

  const nodes: Node[] = [];
  const warnings: ParseWarning[] = [];
  let comments: string[] = [];
  let next = 0;
  while (next < lines.length) {
    const raw = trimNewline(lines[next++]!);
    const start = next;
    const first = raw.replace(/^[\t\v\f\r ]+/, "");
    if (isComment(first)) {
      const comment = first.slice(1).trim();
      if (comment !== "") comments.push(comment);
      continue;
    }
    let [line, complete] = trimContinuation(first, continuation);
    if (complete && line === "") {
      comments = [];
      continue;
    }
    let hasEmptyContinuation = false;
    while (!complete && next < lines.length) {
      const more = trimNewline(lines[next++]!);
      if (isComment(more.replace(/^[\t\v\f\r ]+/, ""))) continue;
      if (more.trim() === "") {
        hasEmptyContinuation = true;
        continue;
      }
      let part: string;
      [part, complete] = trimContinuation(more, continuation);
      line += part;
    }
    if (hasEmptyContinuation) {
      warnings.push({ rule: "NoEmptyContinuation", text: line, range: lineRange(next) });
    }
    const ranges = () => [lineRange(start, next)];
    let node: Node;
    try {
      node = makeNode(line, escape, start, next, comments);
    } catch (error) {
      throw error instanceof SourceError
        ? error
        : new SourceError((error as Error).message, [ranges()], error);
    }
    comments = [];
    const withDocs = canContainHeredoc(node) && line.includes("<<") ? findHeredocs(line) : [];
    const heredocs: Heredoc[] = [];
    for (const heredoc of withDocs) {
      let content = "";
      let terminated = false;
      while (next < lines.length) {
        const body = lines[next++]!;
        const candidate = trimNewline(body);
        if ((heredoc.chomp ? candidate.replace(/^\t+/, "") : candidate) === heredoc.name) {
          terminated = true;
          break;
        }
        content += body;
      }
      if (!terminated) throw new SourceError("unterminated heredoc", [ranges()]);
      heredocs.push({ ...heredoc, content });
    }
    nodes.push(withRange({ ...node, heredocs }, start, next));
  }
  if (nodes.length === 0) {
    throw new SourceError("file with no instructions", [[lineRange(1, Math.max(1, lines.length))]]);
  }
  return { nodes, escape, directives, warnings };
}

function withRange(node: Node, start: number, end: number): Node {
  const range = lineRange(start, end);
  return node.child
    ? { ...node, range, child: { ...node.child, range, heredocs: node.heredocs } }
    : { ...node, range };
}

function makeNode(
  line: string,
  escape: string,
  start: number,
  end: number,
  comments: readonly string[],
): Node {
  const trimmed = trimGoSpace(line);
  const split = /^([^\t\v\f\r ]+)[\t\v\f\r ]*([\s\S]*)$/.exec(trimmed);
  const keyword = split ? split[1]! : trimmed;
  const { flags, rest } = takeFlags(trimGoSpace(split?.[2] ?? ""), escape);
  const range = lineRange(start, end);
  const base = { keyword, original: line, flags, heredocs: [], comments, range };
  const upper = keyword.toUpperCase();
  if (upper === "ONBUILD") {
    if (rest === "") return { ...base, args: [], json: false };
    return { ...base, args: [], json: false, child: makeNode(rest, escape, start, end, comments) };
  }
  return { ...base, ...parseArguments(upper, rest, escape) };
}

function canContainHeredoc(node: Node): boolean {
  const target = node.child ?? node;
  return HEREDOC_INSTRUCTIONS.has(target.keyword.toUpperCase()) && !target.json;
}

function trimContinuation(line: string, pattern: RegExp): [string, boolean] {
  return pattern.test(line) ? [line.replace(pattern, "$1"), false] : [line, true];
}

function isComment(line: string): boolean {
  return line.startsWith("#");
}

function trimNewline(line: string): string {
  return line.replace(/\r?\n$/, "").replace(/\r$/, "");
}

/** Go's strings.TrimSpace: Unicode white space without the byte order mark. */
function trimGoSpace(text: string): string {
  return text.replace(/^(?:(?!\uFEFF)\s)+|(?:(?!\uFEFF)\s)+$/g, "");
}
