// What a folder takes on disk: blocks, each file once however many names it has.
import { join, listNames, lstatMaybe } from "../layer/index.js";
import type { BytePath } from "../linux/index.js";

/** Bytes; `undefined` if there is no such folder. A symbolic link to one takes nothing. */
export function diskUsage(root: BytePath): number | undefined {
  const top = lstatMaybe(root);
  if (!top) return undefined;
  if (!top.isDirectory()) return 0;
  const seen = new Set<bigint>();
  let bytes = top.blocks * 512n;
  const open = [root];
  for (let folder = open.pop(); folder !== undefined; folder = open.pop()) {
    for (const name of listNames(folder)) {
      const path = join(folder, name);
      const stat = lstatMaybe(path);
      if (!stat || (stat.nlink > 1n && !stat.isDirectory() && seen.has(stat.ino))) continue;
      seen.add(stat.ino);
      bytes += stat.blocks * 512n;
      if (stat.isDirectory()) open.push(path);
    }
  }
  return Number(bytes);
}
