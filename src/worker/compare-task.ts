// What has to be changed in one tree to make it another, as a layer's folder: whiteouts for what is gone, everything that
// differs as it is in the other.
import { chmodSync, lchownSync, mkdirSync } from "node:fs";
import { isWhiteout, join, listNames, lstat, lstatMaybe, sameEntry } from "../layer/index.js";
import { fsPath, getXattr, listXattrs, makeNode, setTimes, setXattr, type BytePath } from "../linux/index.js";
import { copyTree } from "./copy.js";
import type { Mounts } from "./mounts.js";
import type { CompareTask } from "./types.js";

const CHARACTER_DEVICE = 0o020000;

export function runCompareTask({ lower, upper, target }: CompareTask, mounts: Mounts): undefined {
  new Comparison(mounts.view(lower), mounts.view(upper), mounts.absolute(target)).run();
  return undefined;
}

class Comparison {
  readonly #lower: BytePath;
  readonly #upper: BytePath;
  readonly #target: BytePath;
  /** folders made, outermost first */
  readonly #made = new Set<BytePath>();

  constructor(lower: BytePath, upper: BytePath, target: BytePath) {
    this.#lower = lower;
    this.#upper = upper;
    this.#target = target;
  }

  run(): void {
    this.#folder("");
    for (const path of [...this.#made].reverse()) this.#attributes(path);
  }

  #folder(path: BytePath): void {
    const below = (root: BytePath): BytePath => (path === "" ? root : join(root, path));
    const [before, after] = [listNames(below(this.#lower)), listNames(below(this.#upper))];
    for (const name of [...new Set([...before, ...after])].sort())
      this.#entry(path === "" ? name : `${path}/${name}`);
  }

  #entry(path: BytePath): void {
    const [lower, upper] = [join(this.#lower, path), join(this.#upper, path)];
    const [before, after] = [lstatMaybe(lower), lstatMaybe(upper)];
    const isThere = after !== undefined && !isWhiteout(after);
    if (!isThere) {
      if (!before || isWhiteout(before)) return;
      this.#parents(path);
      makeNode(join(this.#target, path), CHARACTER_DEVICE, 0, 0);
    } else if (!before || isWhiteout(before) || before.isDirectory() !== after.isDirectory()) {
      this.#copy(path);
    } else if (after.isDirectory()) {
      if (!sameEntry(upper, after, lower, before) || after.mtimeNs !== before.mtimeNs) this.#make(path);
      this.#folder(path);
    } else if (!sameEntry(upper, after, lower, before)) {
      this.#copy(path);
    }
  }

  #copy(path: BytePath): void {
    this.#parents(path);
    copyTree(`/${path}`, `/${path}`, {
      sourceRoot: this.#upper,
      targetRoot: this.#target,
      owner: undefined,
      mode: undefined,
      time: undefined,
      contentsOnly: false,
      followLinks: false,
      includePatterns: [],
      excludePatterns: [],
    });
  }

  #parents(path: BytePath): void {
    const at = path.lastIndexOf("/");
    if (at > 0) this.#make(path.slice(0, at));
  }

  #make(path: BytePath): void {
    if (this.#made.has(path)) return;
    this.#parents(path);
    mkdirSync(fsPath(join(this.#target, path)), 0o755);
    this.#made.add(path);
  }

  #attributes(path: BytePath): void {
    const [from, to] = [join(this.#upper, path), join(this.#target, path)];
    const stat = lstat(from);
    lchownSync(fsPath(to), Number(stat.uid), Number(stat.gid));
    chmodSync(fsPath(to), Number(stat.mode & 0o7777n));
    for (const name of listXattrs(from)) {
      const value = name.startsWith("trusted.overlay.") ? undefined : getXattr(from, name);
      if (value) setXattr(to, name, value);
    }
    setTimes(to, { atime: stat.atimeNs, mtime: stat.mtimeNs });
  }
}
