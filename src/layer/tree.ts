// Reading trees: entries in name order, symbolic links resolved inside a root.
import { lstatSync, readdirSync, readlinkSync, type BigIntStats } from "node:fs";
import { BuildError, codeOf } from "../lib/index.js";
import { fsPath, type BytePath } from "../linux/index.js";

export function join(folder: BytePath, name: BytePath): BytePath {
  return folder.endsWith("/") ? folder + name : `${folder}/${name}`;
}

/** Names in byte order. overlayfs lists whiteouts too, in folders that only one of its layers has: nothing is there. */
export function listNames(folder: BytePath): BytePath[] {
  return readdirSync(fsPath(folder), { encoding: "latin1", withFileTypes: true })
    .filter((entry) => !entry.isCharacterDevice() || lstatMaybe(join(folder, entry.name)) !== undefined)
    .map(({ name }) => name)
    .sort();
}

export function lstat(path: BytePath): BigIntStats {
  return lstatSync(fsPath(path), { bigint: true });
}

/** `undefined` if there is nothing at `path`. */
export function lstatMaybe(path: BytePath): BigIntStats | undefined {
  try {
    // an error that is not thrown costs a tenth
    return lstatSync(fsPath(path), { bigint: true, throwIfNoEntry: false });
  } catch (error) {
    const code = codeOf(error);
    if (code === "ENOTDIR") return undefined;
    throw error;
  }
}

export function readLink(path: BytePath): BytePath {
  return readlinkSync(fsPath(path), { encoding: "latin1" });
}

const MAX_LINKS = 255;

/**
 * The real path of `path` below `root`, with every symbolic link on the way read as if `root` were the root. What does
 * not exist stays as it is. With `followLast` false a link in the last place is kept.
 */
export function resolveInRoot(root: BytePath, path: BytePath, followLast = true): BytePath {
  const done: BytePath[] = [];
  const rest = path.split("/").filter((part) => part !== "" && part !== ".");
  let links = 0;
  while (rest.length > 0) {
    const part = rest.shift()!;
    if (part === "..") {
      done.pop();
      continue;
    }
    const here = [root, ...done, part].join("/");
    if (rest.length > 0 || followLast) {
      const stat = lstatMaybe(here);
      if (stat?.isSymbolicLink()) {
        if (++links > MAX_LINKS) throw new BuildError("ELOOP", "too many links");
        const target = readLink(here);
        if (target.startsWith("/")) done.length = 0;
        rest.unshift(...target.split("/").filter((name) => name !== "" && name !== "."));
        continue;
      }
    }
    done.push(part);
  }
  return done.length === 0 ? root : [root, ...done].join("/");
}
