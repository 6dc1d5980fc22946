// Files and folders of this machine that results are written to.
import { statSync } from "node:fs";
import { getSystemErrorMap } from "node:util";
import { BuildError, codeOf } from "../lib/index.js";

/**
 * Looks, before anything is built, whether a result could be written.
 * @throws BuildError OUTPUT_INVALID in buildx's words
 */
export function checkDestination(dest: string, kind: "file" | "directory"): void {
  const invalid = (message: string): BuildError => new BuildError("OUTPUT_INVALID", message);
  let isFolder: boolean;
  try {
    isFolder = statSync(dest).isDirectory();
  } catch (error) {
    const { code, errno = 0 } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return;
    const words = getSystemErrorMap().get(errno)?.[1] ?? code;
    throw invalid(`invalid destination ${kind}: ${dest}: stat ${dest}: ${words}`);
  }
  if (isFolder && kind === "file") throw invalid(`destination file ${dest} is a directory`);
  if (!isFolder && kind === "directory") throw invalid(`destination directory ${dest} is a file`);
}

/** @returns of an error of writing to `dest`: where there was no space, which is not where builds are kept */
export function destinationError(dest: string, error: unknown): unknown {
  if (codeOf(error) !== "ENOSPC") return error;
  return new BuildError("DESTINATION_FULL", `write ${dest}: no space left on device`, { cause: error });
}
