// Errors of the system in the words that BuildKit's users know, with paths as they are in the image.
import { getSystemErrorMap } from "node:util";
import { BuildError } from "../lib/index.js";
import { textOf, type BytePath } from "../linux/index.js";

/** Where Go says something else than Node. */
const WORDS: Readonly<Record<string, string>> = {
  EEXIST: "file exists",
  EISDIR: "is a directory",
  ELOOP: "too many levels of symbolic links",
  ENAMETOOLONG: "file name too long",
  EBUSY: "device or resource busy",
};

/** @param roots what paths are shown without @returns what is no error of the system as it is */
export function fileError(error: unknown, roots: readonly BytePath[]): unknown {
  if (!isSystemError(error)) return error;
  const { code, errno, syscall, path, dest } = error;
  const words = WORDS[code] ?? getSystemErrorMap().get(errno)?.[1] ?? code;
  const shown = [path, dest].flatMap((one) => (one === undefined ? [] : [inRoot(one, roots)]));
  return new BuildError(code, `${[syscall, ...shown].join(" ")}: ${words}`, { cause: error });
}

interface SystemError extends Error {
  readonly code: string;
  readonly errno: number;
  readonly syscall: string;
  readonly path?: string;
  readonly dest?: string;
}

function isSystemError(error: unknown): error is SystemError {
  return error instanceof Error && "syscall" in error && "errno" in error && "code" in error;
}

function inRoot(path: string, roots: readonly BytePath[]): string {
  const root = roots.map(textOf).find((one) => path === one || path.startsWith(`${one}/`));
  return root === undefined ? path : path.slice(root.length) || "/";
}
