// A client's folder into a layer: only what the build reads, owned by root, with modes and times as they are.
import { chmodSync, copyFileSync, linkSync, mkdirSync, symlinkSync, type BigIntStats } from "node:fs";
import { BuildError, codeOf } from "../lib/index.js";
import { join, readLink, selectedEntries, type SelectedEntry } from "../layer/index.js";
import { bytePath, fsPath, getXattr, listXattrs, setTimes, setXattr, type BytePath } from "../linux/index.js";
import type { LocalTask } from "./types.js";

export function runLocalTask(task: LocalTask, target: BytePath): { bytes: number; files: number } {
  try {
    return new LocalCopy(bytePath(task.folder), target).run(selectedEntries(bytePath(task.folder), task));
  } catch (error) {
    if (codeOf(error) === "EACCES" || codeOf(error) === "EPERM") {
      const message = `error from sender: open ${(error as NodeJS.ErrnoException).path ?? task.folder}: permission denied`;
      throw new BuildError("CONTEXT_UNREADABLE", message, { cause: error });
    }
    throw error;
  }
}

class LocalCopy {
  readonly #source: BytePath;
  readonly #target: BytePath;
  readonly #inodes = new Map<bigint, BytePath>();
  #bytes = 0;
  #files = 0;

  constructor(source: BytePath, target: BytePath) {
    this.#source = source;
    this.#target = target;
  }

  run(entries: Iterable<SelectedEntry>): { bytes: number; files: number } {
    const folders: SelectedEntry[] = [];
    for (const entry of entries) {
      if (entry.stat.isDirectory()) {
        mkdirSync(fsPath(join(this.#target, entry.path)), 0o755);
        folders.push(entry);
      } else this.#copy(entry.path, entry.stat);
    }
    // once nothing is written into them any more
    for (const { path, stat } of folders.reverse()) this.#attributes(path, stat);
    return { bytes: this.#bytes, files: this.#files };
  }

  #copy(path: BytePath, stat: BigIntStats): void {
    const from = join(this.#source, path);
    const to = join(this.#target, path);
    if (stat.isFile()) {
      const known = stat.nlink > 1n ? this.#inodes.get(stat.ino) : undefined;
      if (known !== undefined) {
        linkSync(fsPath(known), fsPath(to));
      } else {
        if (stat.nlink > 1n) this.#inodes.set(stat.ino, to);
        copyFileSync(fsPath(from), fsPath(to));
        this.#bytes += Number(stat.size);
        this.#files++;
      }
    } else if (stat.isSymbolicLink()) {
      symlinkSync(fsPath(readLink(from)), fsPath(to));
    } else {
      return; // sockets and devices are not part of a context
    }
    this.#attributes(path, stat);
  }

  #attributes(path: BytePath, stat: BigIntStats): void {
    const to = join(this.#target, path);
    if (!stat.isSymbolicLink()) {
      chmodSync(fsPath(to), Number(stat.mode & 0o7777n));
      const from = join(this.#source, path);
      for (const name of listXattrs(from).filter((key) => key.startsWith("user."))) {
        const value = getXattr(from, name);
        if (value) setXattr(to, name, value);
      }
    }
    setTimes(to, { atime: stat.atimeNs, mtime: stat.mtimeNs });
  }
}
