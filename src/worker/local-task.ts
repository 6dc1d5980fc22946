// A client's folder into a layer: only what the build reads (follow paths, include and exclude patterns), owned by root,
// with modes and times as they are. What links point to comes along.
import { chmodSync, copyFileSync, linkSync, mkdirSync, symlinkSync, type BigIntStats } from "node:fs";
import {
  BuildError,
  codeOf,
  compilePathPattern,
  hasWildcards,
  PatternMatcher,
  type ParentMatches,
} from "../lib/index.js";
import { join, listNames, lstat, lstatMaybe, readLink } from "../layer/index.js";
import {
  bytePath,
  fsPath,
  getXattr,
  listXattrs,
  setTimes,
  setXattr,
  textOf,
  type BytePath,
} from "../linux/index.js";
import type { LocalTask } from "./types.js";

export function runLocalTask(task: LocalTask, target: BytePath): { bytes: number; files: number } {
  try {
    return new LocalCopy(task, target).run();
  } catch (error) {
    if (codeOf(error) === "EACCES" || codeOf(error) === "EPERM") {
      const message = `error from sender: open ${(error as NodeJS.ErrnoException).path ?? task.folder}: permission denied`;
      throw new BuildError("CONTEXT_UNREADABLE", message, { cause: error });
    }
    throw error;
  }
}

class LocalCopy {
  readonly #task: LocalTask;
  readonly #source: BytePath;
  readonly #target: BytePath;
  readonly #follow: PatternMatcher | undefined;
  readonly #include: PatternMatcher;
  readonly #exclude: PatternMatcher;
  readonly #inodes = new Map<bigint, BytePath>();
  #bytes = 0;
  #files = 0;

  constructor(task: LocalTask, target: BytePath) {
    this.#task = task;
    this.#source = bytePath(task.folder);
    this.#target = target;
    const follow = task.followPaths.length > 0 ? this.#followLinks() : undefined;
    this.#follow = follow && new PatternMatcher([...task.includePatterns, ...follow]);
    this.#include = new PatternMatcher(task.includePatterns);
    this.#exclude = new PatternMatcher(task.excludePatterns);
  }

  run(): { bytes: number; files: number } {
    this.#folder("", [], undefined, undefined);
    return { bytes: this.#bytes, files: this.#files };
  }

  #folder(
    relative: BytePath,
    parents: readonly { path: BytePath; stat: BigIntStats; made: boolean }[],
    includeInfo: ParentMatches | undefined,
    excludeInfo: ParentMatches | undefined,
  ): void {
    const folder = relative === "" ? this.#source : join(this.#source, relative);
    for (const name of listNames(folder)) {
      const path = relative === "" ? name : `${relative}/${name}`;
      const text = textOf(path);
      const include = this.#follow ?? this.#include;
      const i = include.isEmpty ? { matched: true, info: undefined } : include.match(text, includeInfo);
      const e = this.#exclude.isEmpty
        ? { matched: false, info: undefined }
        : this.#exclude.match(text, excludeInfo);
      const stat = lstat(join(this.#source, path));
      const wanted = i.matched && !e.matched;
      if (stat.isDirectory()) {
        const entry = { path, stat, made: false };
        const chain = [...parents, entry];
        if (wanted) this.#make(chain);
        if (!(e.matched && !this.#exclude.hasExclusions)) this.#folder(path, chain, i.info, e.info);
        if (entry.made) this.#attributes(path, stat);
      } else if (wanted) {
        this.#make(parents);
        this.#copy(path, stat);
      }
    }
  }

  #make(chain: readonly { path: BytePath; stat: BigIntStats; made: boolean }[]): void {
    for (const entry of chain) {
      if (entry.made) continue;
      mkdirSync(fsPath(join(this.#target, entry.path)), 0o755);
      (entry as { made: boolean }).made = true;
    }
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

  /** The follow paths and what the links among them point to, as patterns. */
  #followLinks(): string[] {
    const resolved = new Set<string>();
    const append = (path: BytePath, depth: number): void => {
      if (depth > 255) return;
      const parts = path.split("/").filter((part) => part !== "" && part !== ".");
      const done: BytePath[] = [];
      for (const [index, part] of parts.entries()) {
        if (part === "..") {
          done.pop();
          continue;
        }
        const candidates = [...done, part].join("/");
        const targets = this.#linkTargets(done.join("/"), part);
        if (targets.length > 0) {
          if (resolved.has(candidates)) return;
          resolved.add(candidates);
          const rest = parts.slice(index + 1);
          for (const target of targets) append([target, ...rest].join("/"), depth + 1);
          return;
        }
        done.push(part);
      }
      resolved.add(done.join("/"));
    };
    for (const path of this.#task.followPaths) append(bytePath(path), 0);
    if (resolved.has("")) return ["**"];
    return [...resolved].map(textOf);
  }

  /** Where `name` (perhaps with wildcards) in `folder` leads to, if links are among what it means. */
  #linkTargets(folder: BytePath, name: BytePath): BytePath[] {
    const base = folder === "" ? this.#source : join(this.#source, folder);
    let names = [name];
    if (hasWildcards(textOf(name))) {
      const pattern = compilePathPattern(textOf(name));
      names =
        pattern && lstatMaybe(base)?.isDirectory()
          ? listNames(base).filter((n) => pattern.test(textOf(n)))
          : [];
    }
    const targets: BytePath[] = [];
    for (const one of names) {
      const path = join(base, one);
      if (!lstatMaybe(path)?.isSymbolicLink()) continue;
      const link = readLink(path);
      targets.push(link.startsWith("/") ? link : `${folder}/${link}`);
    }
    return targets;
  }
}
