// Folders of a layer that its archive leaves out look as in the layers below.
import { chmodSync, chownSync } from "node:fs";
import { fsPath, setTimes, type BytePath } from "../linux/index.js";
import { join, lstatMaybe } from "./tree.js";

/**
 * Owner, mode and times of folders, from the highest layer that has them.
 * @param parents folders of the layers below, highest first
 * @param names of the folders, relative to `target`
 */
export function inheritFolders(
  target: BytePath,
  parents: readonly BytePath[],
  names: readonly BytePath[],
): void {
  for (const name of names) {
    const path = join(target, name);
    if (!lstatMaybe(path)?.isDirectory()) continue;
    const found = parents.map((lower) => lstatMaybe(join(lower, name))).find((stat) => stat?.isDirectory());
    if (!found) continue;
    chownSync(fsPath(path), Number(found.uid), Number(found.gid));
    chmodSync(fsPath(path), Number(found.mode & 0o7777n));
    setTimes(path, { atime: found.atimeNs, mtime: found.mtimeNs });
  }
}
