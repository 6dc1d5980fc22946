// The vocabulary of system calls. A path is a "byte path": a string with one character a byte (latin1), because file
// names on Linux are bytes, not text. `bytePath` and `textOf` convert.

export type BytePath = string;

export function bytePath(text: string): BytePath {
  return Buffer.from(text, "utf8").toString("latin1");
}

export function textOf(path: BytePath): string {
  return Buffer.from(path, "latin1").toString("utf8");
}

/** What Node's file functions take for a byte path. */
export function fsPath(path: BytePath): Buffer {
  return Buffer.from(path, "latin1");
}

/** Nanoseconds since 1970. */
export interface Times {
  readonly atime: bigint;
  readonly mtime: bigint;
}
