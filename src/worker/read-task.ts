// Contents of single files of a tree, for frontends: a Dockerfile in a git repository, the head of an archive.
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { codeOf } from "../lib/index.js";
import { resolveInRoot } from "../layer/index.js";
import { bytePath, fsPath, type BytePath } from "../linux/index.js";
import type { ReadTask } from "./types.js";

export function runReadTask(root: BytePath, { paths, limit }: ReadTask): (Uint8Array | undefined)[] {
  return paths.map((path) => {
    let fd: number;
    try {
      fd = openSync(fsPath(resolveInRoot(root, bytePath(path))), "r");
    } catch (error) {
      if (codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR") return undefined;
      throw error;
    }
    try {
      const data = new Uint8Array(Math.min(fstatSync(fd).size, limit));
      return data.subarray(0, readSync(fd, data, 0, data.length, 0));
    } finally {
      closeSync(fd);
    }
  });
}
