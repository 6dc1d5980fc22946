// Content digests of paths in a tree: what a step that reads files is keyed by. The hashed texts are those of BuildKit's
// content hash (test/golden/corpus/*/digests.json, types "file" and "file-list"): mode, owner, size, type, link, device,
// extended attributes and data of every file, but no times; names only inside folder lists.
import { createHash } from "node:crypto";
import { closeSync, openSync, readSync, type BigIntStats } from "node:fs";
import {
  BuildError,
  digestOf,
  compilePathPattern,
  hasWildcards,
  PatternMatcher,
  type Digest,
  type ParentMatches,
} from "../lib/index.js";
import {
  deviceNumbers,
  fsPath,
  getXattr,
  listXattrs,
  textOf,
  bytePath,
  type BytePath,
} from "../linux/index.js";
import type { KeptDigests } from "./kept-digests.js";
import { join, listNames, lstat, lstatMaybe, readLink, resolveInRoot } from "./tree.js";

export interface ChecksumRequest {
  /** absolute inside the tree */
  readonly path: BytePath;
  readonly wildcard: boolean;
  readonly followLinks: boolean;
  readonly includePatterns: readonly string[];
  readonly excludePatterns: readonly string[];
}

interface Included {
  /** relative, with a leading slash; "" for the folder itself */
  readonly path: BytePath;
  readonly digest: Digest;
}

const EMPTY = digestOf("");

export class TreeChecksum {
  readonly #root: BytePath;
  readonly #rootDigest: Digest | undefined;
  readonly #digests = new Map<BytePath, Digest>();
  readonly #kept: KeptDigests | undefined;

  /**
   * @param anonymousRoot the root itself has no attributes, as that of a client's folder
   * @param kept digests of earlier, of files that are not changed in place
   */
  constructor(root: BytePath, anonymousRoot: boolean, kept?: KeptDigests) {
    this.#root = root;
    this.#kept = kept;
    this.#rootDigest = anonymousRoot ? EMPTY : undefined;
  }

  /** @throws BuildError NOT_FOUND `"/path": not found` */
  digest(request: ChecksumRequest): Digest {
    const { path, wildcard, followLinks, includePatterns, excludePatterns } = request;
    const isWild = wildcard && hasWildcards(textOf(path));
    if (!wildcard && includePatterns.length === 0 && excludePatterns.length === 0)
      return this.#plain(path, followLinks);
    if (!isWild && includePatterns.length === 0 && excludePatterns.length === 0)
      return this.#plain(path, followLinks);
    const included = isWild ? this.#matching(request) : this.#below(path, request);
    if (included.length === 0) return EMPTY;
    const base = (p: BytePath): BytePath => p.split("/").pop() ?? "";
    if (!isWild && included.length === 1 && included[0]!.path === "") return included[0]!.digest;
    if (isWild && included.length === 1 && base(included[0]!.path) === base(path)) return included[0]!.digest;
    const hash = createHash("sha256");
    for (const { path: name, digest } of included) hash.update(key(name === "" ? "/" : name)).update(digest);
    return `sha256:${hash.digest("hex")}` as Digest;
  }

  #plain(path: BytePath, followLinks: boolean): Digest {
    const real = resolveInRoot(this.#root, path, followLinks);
    const stat = lstatMaybe(real);
    if (!stat) throw new BuildError("NOT_FOUND", `${JSON.stringify(textOf(path))}: not found`);
    return this.#recursive(real, stat);
  }

  /** Everything that `path`, a pattern, matches; folders with all they contain. */
  #matching(request: ChecksumRequest): Included[] {
    const parts = request.path.split("/").filter((part) => part !== "");
    const at = parts.findIndex((part) => hasWildcards(textOf(part)));
    const prefix = resolveInRoot(this.#root, parts.slice(0, at).join("/"));
    const pattern = compilePathPattern(textOf(parts.slice(at).join("/")));
    if (!pattern) throw new BuildError("PATTERN_INVALID", "syntax error in pattern");
    const found: Included[] = [];
    if (!lstatMaybe(prefix)?.isDirectory()) return found;
    const visit = (folder: BytePath, relative: BytePath): void => {
      for (const name of listNames(folder)) {
        const path = join(folder, name);
        const shown = `${relative}/${name}`;
        const stat = lstat(path);
        if (!pattern.test(textOf(shown.slice(1)))) {
          if (stat.isDirectory()) visit(path, shown);
          continue;
        }
        if (stat.isSymbolicLink() && request.followLinks) {
          found.push({ path: shown, digest: this.#plain(path.slice(this.#root.length), true) });
        } else if (stat.isDirectory()) found.push(...this.#filtered(path, shown, request));
        else found.push({ path: shown, digest: this.#file(path, stat) });
      }
    };
    visit(prefix, "");
    return found;
  }

  #below(path: BytePath, request: ChecksumRequest): Included[] {
    const real = resolveInRoot(this.#root, path, request.followLinks);
    const stat = lstatMaybe(real);
    // as in BuildKit that is for who reads it to tell
    if (!stat) return [];
    if (!stat.isDirectory()) return [{ path: "", digest: this.#file(real, stat) }];
    const all = this.#filtered(real, "", request);
    return real === this.#root ? all.filter((entry) => entry.path !== "") : all;
  }

  /** A folder and what is in it, as the include and exclude patterns have it; patterns are relative to the folder. */
  #filtered(folder: BytePath, shown: BytePath, request: ChecksumRequest): Included[] {
    const include = PatternMatcher.named("includepatterns", request.includePatterns);
    const exclude = PatternMatcher.named("excludepatterns", request.excludePatterns);
    const found: Included[] = [];
    type Pending = { readonly entry: Included; done: boolean };
    const visit = (
      path: BytePath,
      relative: BytePath,
      parents: readonly Pending[],
      includeInfo: ParentMatches | undefined,
      excludeInfo: ParentMatches | undefined,
    ): void => {
      for (const name of listNames(path)) {
        const child = join(path, name);
        const inner = relative === "" ? name : `${relative}/${name}`;
        const stat = lstat(child);
        const i = include.isEmpty ? { matched: true, info: [] } : include.match(textOf(inner), includeInfo);
        const e = exclude.isEmpty ? { matched: false, info: [] } : exclude.match(textOf(inner), excludeInfo);
        const wanted = i.matched && !e.matched;
        const entry: Included = {
          path: `${shown}/${inner}`,
          digest: stat.isDirectory() ? this.#header(child, stat) : wanted ? this.#file(child, stat) : EMPTY,
        };
        const pending: Pending = { entry, done: false };
        if (wanted) {
          for (const parent of [...parents, pending]) {
            if (parent.done) continue;
            parent.done = true;
            found.push(parent.entry);
          }
        }
        if (stat.isDirectory() && !(e.matched && !exclude.hasExclusions)) {
          visit(child, inner, [...parents, pending], i.info, e.info);
        }
      }
    };
    const top: Pending = {
      entry: { path: shown, digest: this.#header(folder, lstat(folder)) },
      done: include.isEmpty,
    };
    if (top.done) found.push(top.entry);
    visit(folder, "", [top], undefined, undefined);
    return found;
  }

  /** The digest of a path with everything below it. */
  #recursive(path: BytePath, stat: BigIntStats): Digest {
    if (!stat.isDirectory()) return this.#file(path, stat);
    const known = this.#digests.get(path);
    if (known) return known;
    const hash = createHash("sha256").update("\0").update(this.#header(path, stat));
    for (const name of listNames(path)) {
      const child = join(path, name);
      hash.update(`\0${name}`, "latin1").update(this.#recursive(child, lstat(child)));
    }
    const digest = `sha256:${hash.digest("hex")}` as Digest;
    this.#digests.set(path, digest);
    return digest;
  }

  #header(path: BytePath, stat: BigIntStats): Digest {
    if (path === this.#root && this.#rootDigest) return this.#rootDigest;
    return digestOf(this.#headerText(path, stat));
  }

  #file(path: BytePath, stat: BigIntStats): Digest {
    const known = this.#digests.get(path);
    if (known) return known;
    const kept = stat.isFile() ? this.#kept : undefined;
    const name = path.slice(this.#root.length);
    let digest = kept?.find(name, stat);
    if (digest === undefined) {
      const hash = createHash("sha256").update(this.#headerText(path, stat));
      if (stat.isFile() && stat.size > 0n) hashContent(hash, path);
      digest = `sha256:${hash.digest("hex")}` as Digest;
      kept?.add(name, stat, digest);
    }
    this.#digests.set(path, digest);
    return digest;
  }

  #headerText(path: BytePath, stat: BigIntStats): Buffer {
    const isDevice = stat.isCharacterDevice() || stat.isBlockDevice();
    // BuildKit hashes them as a client told them; where it looks itself it leaves them out
    const isTold = this.#rootDigest !== undefined;
    const { major, minor } = isDevice && isTold ? deviceNumbers(stat.rdev) : { major: 0, minor: 0 };
    const flag = stat.isDirectory()
      ? 5
      : stat.isSymbolicLink()
        ? 2
        : stat.isCharacterDevice()
          ? 3
          : stat.isBlockDevice()
            ? 4
            : stat.isFIFO()
              ? 6
              : 0;
    const size = stat.isFile() ? stat.size : 0n;
    const link = stat.isSymbolicLink() ? readLink(path) : "";
    const text =
      `namemode${stat.mode & 0o7777n}uid${stat.uid}gid${stat.gid}size${size}typeflag${flag}` +
      `linkname${link}unamegnamedevmajor${major}devminor${minor}`;
    return Buffer.concat([Buffer.from(text, "latin1"), ...xattrTexts(path)]);
  }
}

/** A path as it stands in hashed lists: NUL for slash. */
function key(path: BytePath): Buffer {
  return Buffer.from(path.replaceAll("/", "\0"), "latin1");
}

function xattrTexts(path: BytePath): Buffer[] {
  return listXattrs(path)
    .filter((name) => name === "security.capability" || !/^(security|system|trusted)\./.test(name))
    .sort()
    .flatMap((name) => [Buffer.from(name), getXattr(path, name) ?? Buffer.alloc(0)]);
}

const BUFFER = Buffer.allocUnsafe(1 << 20);

function hashContent(hash: ReturnType<typeof createHash>, path: BytePath): void {
  const fd = openSync(fsPath(path), "r");
  try {
    for (;;) {
      const count = readSync(fd, BUFFER, 0, BUFFER.length, null);
      hash.update(BUFFER.subarray(0, count));
      if (count < BUFFER.length) return;
    }
  } finally {
    closeSync(fd);
  }
}

/** The content key of a step: the digests of all it reads of one input (type "digest-list"). */
export function combineDigests(digests: readonly Digest[]): Digest {
  return digestOf(digests.join("\0"));
}

export { bytePath };
