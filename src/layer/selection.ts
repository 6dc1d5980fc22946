// What a build wants of a client's folder: follow paths with what links among them point to, include and exclude patterns.
// Source of the rules: fsutil's walker, as recordings and real clients show them.
import type { BigIntStats } from "node:fs";
import { compilePathPattern, hasWildcards, PatternMatcher, type ParentMatches } from "../lib/index.js";
import { bytePath, textOf, type BytePath } from "../linux/index.js";
import { join, listNames, lstat, lstatMaybe, readLink } from "./tree.js";

/** All of it is relative to the folder. */
export interface Selection {
  /** these, and what links among them point to */
  readonly followPaths: readonly string[];
  readonly includePatterns: readonly string[];
  readonly excludePatterns: readonly string[];
}

export interface SelectedEntry {
  /** relative to the folder */
  readonly path: BytePath;
  readonly stat: BigIntStats;
}

/**
 * Entries in the order of their names, folders before what is in them; a folder that is only on the way to something
 * comes with it.
 * @throws the errors of node:fs
 */
export function selectedEntries(source: BytePath, selection: Selection): Iterable<SelectedEntry> {
  return new Walk(source, selection).folder("", [], undefined, undefined);
}

interface Parent extends SelectedEntry {
  isGiven: boolean;
}

class Walk {
  readonly #source: BytePath;
  readonly #followPaths: readonly string[];
  readonly #include: PatternMatcher;
  readonly #exclude: PatternMatcher;

  constructor(source: BytePath, { followPaths, includePatterns, excludePatterns }: Selection) {
    this.#source = source;
    this.#followPaths = followPaths;
    const follow = followPaths.length > 0 ? this.#followLinks() : [];
    this.#include = PatternMatcher.named("includepatterns", [...includePatterns, ...follow]);
    this.#exclude = PatternMatcher.named("excludepatterns", excludePatterns);
  }

  *folder(
    relative: BytePath,
    parents: readonly Parent[],
    includeInfo: ParentMatches | undefined,
    excludeInfo: ParentMatches | undefined,
  ): Generator<SelectedEntry> {
    const folder = relative === "" ? this.#source : join(this.#source, relative);
    for (const name of [...listNames(folder)].sort(compareBytes)) {
      const path = relative === "" ? name : `${relative}/${name}`;
      const text = textOf(path);
      const i = this.#include.isEmpty
        ? { matched: true, info: undefined }
        : this.#include.match(text, includeInfo);
      const e = this.#exclude.isEmpty
        ? { matched: false, info: undefined }
        : this.#exclude.match(text, excludeInfo);
      const stat = lstat(join(this.#source, path));
      const wanted = i.matched && !e.matched;
      if (stat.isDirectory()) {
        const chain = [...parents, { path, stat, isGiven: false }];
        if (wanted) yield* notYetGiven(chain);
        if (!(e.matched && !this.#exclude.hasExclusions)) yield* this.folder(path, chain, i.info, e.info);
      } else if (wanted) {
        yield* notYetGiven(parents);
        yield { path, stat };
      }
    }
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
    for (const path of this.#followPaths) append(bytePath(path), 0);
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

function* notYetGiven(chain: readonly Parent[]): Generator<SelectedEntry> {
  for (const entry of chain) {
    if (entry.isGiven) continue;
    entry.isGiven = true;
    yield entry;
  }
}

/** Characters are bytes. */
function compareBytes(a: BytePath, b: BytePath): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
