// What a tree has at a path, for frontends: one entry, or those of a folder.
import { BuildError } from "../lib/index.js";
import { join, listNames, lstat, lstatMaybe, readLink, resolveInRoot } from "../layer/index.js";
import { bytePath, deviceNumbers, getXattr, listXattrs, textOf, type BytePath } from "../linux/index.js";
import type { ListTask, TreeEntry } from "./types.js";

/** @throws BuildError FILE_MISSING */
export function runListTask(root: BytePath, { path, kind }: ListTask): TreeEntry[] {
  const target = resolveInRoot(root, bytePath(path));
  const stat = lstatMaybe(target);
  if (!stat || (kind === "folder" && !stat.isDirectory())) {
    const problem = stat ? "not a directory" : "no such file or directory";
    throw new BuildError("FILE_MISSING", `${kind === "folder" ? "open" : "lstat"} ${path}: ${problem}`);
  }
  if (kind === "entry") return [entryOf(target, path.replace(/\/+$/, "").replace(/^.*\//s, ""))];
  return [...listNames(target)].sort().map((name) => entryOf(join(target, name), textOf(name)));
}

function entryOf(path: BytePath, name: string): TreeEntry {
  const stat = lstat(path);
  const isDevice = stat.isBlockDevice() || stat.isCharacterDevice();
  const xattrs = stat.isSymbolicLink() ? [] : listXattrs(path);
  return {
    name,
    mode: Number(stat.mode),
    uid: Number(stat.uid),
    gid: Number(stat.gid),
    size: stat.isDirectory() ? 0 : Number(stat.size),
    modTime: stat.mtimeNs,
    linkname: stat.isSymbolicLink() ? textOf(readLink(path)) : "",
    device: isDevice ? deviceNumbers(stat.rdev) : { major: 0, minor: 0 },
    xattrs: xattrs.flatMap((key) => {
      const value = key.startsWith("trusted.overlay.") ? undefined : getXattr(path, key);
      return value ? [[key, value] as const] : [];
    }),
  };
}
