// What the parser makes of a Dockerfile: one node per instruction, its words still unexpanded.
import type { Range } from "../../../llb/index.js";

export interface Heredoc {
  readonly name: string;
  /** "<<-": leading tabs are stripped */
  readonly chomp: boolean;
  /** the terminator was not quoted: variables are expanded */
  readonly expand: boolean;
  readonly fileDescriptor: number;
  readonly content: string;
}

export interface Node {
  /** the instruction as written */
  readonly keyword: string;
  /** the line with its continuations joined */
  readonly original: string;
  readonly flags: readonly string[];
  readonly args: readonly string[];
  /** the arguments were a JSON array */
  readonly json: boolean;
  readonly heredocs: readonly Heredoc[];
  /** comment lines directly above */
  readonly comments: readonly string[];
  readonly range: Range;
  /** the instruction behind ONBUILD */
  readonly child?: Node;
}

export interface ParseWarning {
  readonly rule: "NoEmptyContinuation";
  readonly text: string;
  readonly range: Range;
}

export interface Directive {
  readonly name: string;
  readonly value: string;
  readonly range: Range;
}

export interface ParsedDockerfile {
  readonly nodes: readonly Node[];
  readonly escape: string;
  readonly directives: ReadonlyMap<string, Directive>;
  readonly warnings: readonly ParseWarning[];
}
