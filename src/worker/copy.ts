// Copying trees as COPY does (the rules are those of BuildKit's fsutil): folders merge, files replace, links inside the
// source stay links, hard links stay together, owner, mode and times come along unless the action sets them.
import {
  chmodSync,
  lchownSync,
  linkSync,
  mkdirSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  type BigIntStats,
} from "node:fs";
import { posix } from "node:path";
import {
  BuildError,
  compilePathPattern,
  hasWildcards,
  PatternMatcher,
  type ParentMatches,
} from "../lib/index.js";
import { copyFile, join, listNames, lstat, lstatMaybe, readLink, resolveInRoot } from "../layer/index.js";
import {
  deviceNumbers,
  fsPath,
  getXattr,
  listXattrs,
  makeNode,
  setTimes,
  setXattr,
  textOf,
  type BytePath,
} from "../linux/index.js";
import { applySymbolicMode } from "./mode.js";

export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

export interface CopyOptions {
  readonly sourceRoot: BytePath;
  readonly targetRoot: BytePath;
  readonly owner: Owner | undefined;
  /** permission bits, or a symbolic mode */
  readonly mode: number | string | undefined;
  /** nanoseconds; for everything that is written */
  readonly time: bigint | undefined;
  readonly contentsOnly: boolean;
  readonly followLinks: boolean;
  readonly includePatterns: readonly string[];
  readonly excludePatterns: readonly string[];
  /** what is in the way is removed, a folder too, unless it is one that a folder is copied to */
  readonly replaces?: boolean;
  /** links that begin at the root begin there */
  readonly linkRoot?: BytePath | undefined;
}

/**
 * What a source with wildcards stands for, as paths inside the root; below a folder that matches nothing more does.
 * @throws BuildError NOT_FOUND for the folder that the wildcards begin in
 */
export function expandWildcards(root: BytePath, path: BytePath, followLinks: boolean): BytePath[] {
  const parts = path.split("/").filter((part) => part !== "");
  const at = parts.findIndex((part) => hasWildcards(textOf(part)));
  if (at < 0) return [path];
  const folder = resolveInRoot(root, parts.slice(0, at).join("/"), followLinks || at > 1);
  const pattern = compilePathPattern(textOf(parts.slice(at).join("/")));
  const found: BytePath[] = [];
  const stat = lstatMaybe(folder);
  if (!stat) {
    const shown = textOf(folder.slice(root.length));
    throw new BuildError("NOT_FOUND", `lstat ${shown}: no such file or directory`);
  }
  if (!pattern || !stat.isDirectory()) return found;
  const visit = (current: BytePath, relative: BytePath): void => {
    for (const name of listNames(current)) {
      const child = join(current, name);
      const inner = relative === "" ? name : `${relative}/${name}`;
      if (pattern.test(textOf(inner))) found.push(child.slice(root.length));
      else if (lstat(child).isDirectory()) visit(child, inner);
    }
  };
  visit(folder, "");
  return found;
}

/** Creates `path` and what is missing above it. @returns the folders made, outermost first */
export function makeFolders(
  path: BytePath,
  mode: number,
  owner: Owner | undefined,
  time: bigint | undefined,
): BytePath[] {
  const missing: BytePath[] = [];
  for (
    let current = path;
    current !== "" && !lstatMaybe(current);
    current = current.slice(0, current.lastIndexOf("/"))
  ) {
    missing.unshift(current);
  }
  for (const folder of missing) {
    mkdirSync(fsPath(folder), mode);
    chmodSync(fsPath(folder), mode);
    if (owner) lchownSync(fsPath(folder), owner.uid, owner.gid);
  }
  if (time !== undefined)
    for (const folder of missing.slice().reverse()) setTimes(folder, { atime: time, mtime: time });
  return missing;
}

/**
 * As `makeFolders`, where something else may be in the way.
 * @throws BuildError NOT_A_FOLDER
 */
export function ensureFolder(
  root: BytePath,
  path: BytePath,
  mode: number,
  owner: Owner | undefined,
  time: bigint | undefined,
): BytePath[] {
  checkReachable(root, path);
  if (lstatMaybe(path)?.isDirectory() === false)
    throw new BuildError("NOT_A_FOLDER", `mkdir ${textOf(path.slice(root.length))}: not a directory`);
  return makeFolders(path, mode, owner, time);
}

/** @throws BuildError NOT_A_FOLDER if a path inside `root` leads through a file */
export function checkReachable(root: BytePath, path: BytePath): void {
  const file = fileAbove(path);
  if (file === undefined) return;
  const [next] = path.slice(file.length + 1).split("/");
  const shown = textOf(`${file}/${next}`.slice(root.length));
  throw new BuildError("NOT_A_FOLDER", `lstat ${shown}: not a directory`);
}

/** What is on the way to `path` and no folder; `undefined` if nothing is. */
export function fileAbove(path: BytePath): BytePath | undefined {
  let current = path;
  let stat: ReturnType<typeof lstatMaybe>;
  do {
    current = current.slice(0, current.lastIndexOf("/"));
    stat = lstatMaybe(current);
  } while (!stat && current !== "");
  return stat?.isDirectory() === false && !stat.isSymbolicLink() ? current : undefined;
}

/** @throws BuildError COPY_FAILED, NOT_FOUND */
export function copyTree(source: BytePath, dest: BytePath, options: CopyOptions): void {
  const { sourceRoot, targetRoot, owner, time } = options;
  const folderMode = typeof options.mode === "number" ? options.mode & 0o777 : 0o755;
  const made: BytePath[] = [];
  const ensure = (path: BytePath): void =>
    void made.push(...ensureFolder(targetRoot, path, folderMode, owner, time));
  const lastSlash = dest.lastIndexOf("/");
  const last = dest.slice(lastSlash + 1);
  ensure(resolveInRoot(targetRoot, last !== "" && last !== "." ? dest.slice(0, lastSlash) : dest));
  let target = resolveInRoot(targetRoot, dest);
  const from = resolveInRoot(sourceRoot, source, options.followLinks);
  const stat = lstatMaybe(from);
  if (!stat) {
    const shown = textOf(from.slice(sourceRoot.length));
    throw new BuildError("NOT_FOUND", `lstat ${shown}: no such file or directory`);
  }
  const existing = lstatMaybe(target);
  const isFolder = stat.isDirectory();
  if ((!options.contentsOnly && isFolder && existing) || (!isFolder && existing?.isDirectory())) {
    const name = source.replace(/\/+$/, "").split("/").pop();
    if (name) target = join(target, name);
  }
  const parent =
    options.contentsOnly && isFolder && !existing ? target : target.slice(0, target.lastIndexOf("/"));
  ensure(parent === "" ? "/" : parent);
  new Copier(options).copy(from, "", target, false, [], undefined, undefined);
  if (time !== undefined) for (const folder of made.reverse()) setTimes(folder, { atime: time, mtime: time });
}

interface PendingFolder {
  readonly source: BytePath;
  readonly target: BytePath;
  done: boolean;
}

class Copier {
  readonly #options: CopyOptions;
  readonly #include: PatternMatcher;
  readonly #exclude: PatternMatcher;
  readonly #inodes = new Map<bigint, BytePath>();

  constructor(options: CopyOptions) {
    this.#options = options;
    this.#include = PatternMatcher.named("includepatterns", options.includePatterns);
    this.#exclude = PatternMatcher.named("excludepatterns", options.excludePatterns);
  }

  /**
   * @param relative path below the copied folder, which the patterns are about
   * @param isNew nothing is at `target`
   */
  copy(
    source: BytePath,
    relative: BytePath,
    target: BytePath,
    overwriteMetadata: boolean,
    parents: readonly PendingFolder[],
    includeInfo: ParentMatches | undefined,
    excludeInfo: ParentMatches | undefined,
    isNew = false,
  ): void {
    const top = relative === "";
    const text = textOf(relative);
    const i =
      top || this.#include.isEmpty
        ? { matched: true, info: undefined }
        : this.#include.match(text, includeInfo);
    const e =
      top || this.#exclude.isEmpty
        ? { matched: false, info: undefined }
        : this.#exclude.match(text, excludeInfo);
    const wanted = (top ? this.#include.isEmpty : i.matched) && !e.matched;
    const stat = lstat(source);
    if (!stat.isDirectory()) {
      if (!wanted && !top) return;
      for (const parent of parents) this.#makePending(parent, overwriteMetadata);
      this.#copyFile(source, stat, target, isNew);
      return;
    }
    if (wanted) for (const parent of parents) this.#makePending(parent, overwriteMetadata);
    const pending: PendingFolder = { source, target, done: wanted };
    const created = wanted && this.#makeFolder(target, stat, overwriteMetadata);
    if (!(e.matched && !this.#exclude.hasExclusions)) {
      const inner = [...parents, pending];
      for (const name of listNames(source)) {
        this.copy(
          join(source, name),
          top ? name : `${relative}/${name}`,
          join(target, name),
          true,
          inner,
          i.info,
          e.info,
          created,
        );
      }
    }
    if (!wanted) return;
    if (created || overwriteMetadata) this.#attributes(source, stat, target);
    else this.#times(stat, target);
  }

  #makePending(folder: PendingFolder, overwriteMetadata: boolean): void {
    if (folder.done) return;
    folder.done = true;
    const stat = lstat(folder.source);
    if (this.#makeFolder(folder.target, stat, overwriteMetadata))
      this.#attributes(folder.source, stat, folder.target);
  }

  /** @returns what is there, unless it is to be replaced */
  #inTheWay(target: BytePath, stat: BigIntStats): BigIntStats | undefined {
    const existing = lstatMaybe(target);
    if (!existing || !this.#options.replaces || (stat.isDirectory() && existing.isDirectory()))
      return existing;
    rmSync(fsPath(target), { recursive: true });
    return undefined;
  }

  #makeFolder(target: BytePath, stat: BigIntStats, overwriteMetadata: boolean): boolean {
    const existing = this.#inTheWay(target, stat);
    if (!existing) {
      mkdirSync(fsPath(target), Number(stat.mode & 0o7777n));
      return true;
    }
    if (!existing.isDirectory()) {
      throw new BuildError(
        "COPY_FAILED",
        `cannot copy to non-directory: ${textOf(target.slice(this.#options.targetRoot.length))}`,
      );
    }
    if (overwriteMetadata) chmodSync(fsPath(target), Number(stat.mode & 0o7777n));
    return false;
  }

  #copyFile(source: BytePath, stat: BigIntStats, target: BytePath, isNew: boolean): void {
    const existing = isNew ? undefined : this.#inTheWay(target, stat);
    if (existing?.isDirectory()) {
      const shown = textOf(target.slice(this.#options.targetRoot.length));
      throw new BuildError("COPY_FAILED", `cannot replace to directory ${shown} with file`);
    }
    if (existing) unlinkSync(fsPath(target));
    if (stat.isFile()) {
      const link = stat.nlink > 1n ? this.#inodes.get(stat.ino) : undefined;
      if (link !== undefined) {
        linkSync(fsPath(link), fsPath(target));
      } else {
        if (stat.nlink > 1n) this.#inodes.set(stat.ino, target);
        copyFile(source, target, stat.size);
      }
    } else if (stat.isSymbolicLink()) {
      const { linkRoot } = this.#options;
      const link = readLink(source);
      const isMoved = linkRoot !== undefined && link.startsWith("/");
      symlinkSync(fsPath(isMoved ? posix.join(linkRoot, link) : link), fsPath(target));
    } else {
      const { major, minor } = deviceNumbers(stat.rdev);
      makeNode(target, Number(stat.mode), major, minor);
    }
    this.#attributes(source, stat, target);
  }

  #attributes(source: BytePath, stat: BigIntStats, target: BytePath): void {
    const { owner, mode } = this.#options;
    lchownSync(fsPath(target), owner?.uid ?? Number(stat.uid), owner?.gid ?? Number(stat.gid));
    if (!stat.isSymbolicLink()) {
      const own = Number(stat.mode & 0o7777n);
      const final =
        typeof mode === "string" ? applySymbolicMode(mode, own, stat.isDirectory()) : (mode ?? own);
      chmodSync(fsPath(target), final);
    }
    for (const name of listXattrs(source)) {
      if (name.startsWith("trusted.overlay.") || name.startsWith("user.overlay.")) continue;
      const value = getXattr(source, name);
      try {
        if (value) setXattr(target, name, value);
      } catch {
        // a file system without extended attributes: BuildKit goes on too
      }
    }
    this.#times(stat, target);
  }

  #times(stat: BigIntStats, target: BytePath): void {
    const { time } = this.#options;
    setTimes(target, { atime: time ?? stat.atimeNs, mtime: time ?? stat.mtimeNs });
  }
}

/** Removes a path; with wildcards all that match. */
export function removePath(root: BytePath, path: BytePath, wildcard: boolean, allowMissing: boolean): void {
  const paths = wildcard ? expandWildcards(root, path, false) : [path];
  for (const one of paths) {
    const real = resolveInRoot(root, one, false);
    if (real === root) throw new BuildError("FILE_OP_INVALID", "rmPath: invalid empty path");
    if (!lstatMaybe(real)) {
      if (allowMissing || wildcard) continue;
      const isBelowFile = fileAbove(real) !== undefined;
      const problem = isBelowFile ? "unlinkat %: not a directory" : "stat %: no such file or directory";
      throw new BuildError(
        "NOT_FOUND",
        problem.replace("%", () => textOf(one)),
      );
    }
    rmSync(fsPath(real), { recursive: true, force: true });
  }
}
