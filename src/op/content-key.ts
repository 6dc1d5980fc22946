// Selectors and content keys: what of an input a step reads.
import { posix } from "node:path";
import { digestOf, messageOf, BuildError, type Digest } from "../lib/index.js";
import { combineDigests } from "../layer/index.js";
import { keptDigestsPath } from "../snapshot/index.js";
import type { OpContext, RefResult } from "./context.js";

export interface Selector {
  readonly path: string;
  readonly wildcard: boolean;
  readonly followLinks: boolean;
  readonly includePatterns: readonly string[];
  readonly excludePatterns: readonly string[];
}

export function pathSelector(path: string, followLinks: boolean): Selector {
  return { path, wildcard: false, followLinks, includePatterns: [], excludePatterns: [] };
}

export function selectorDigest(paths: readonly string[]): Digest {
  return digestOf(paths.join("\0"));
}

/** Computes the content key of an input for `selectors`. @param index which input it is */
export function contentDigest(
  context: OpContext,
  index: number,
  selectors: readonly Selector[],
  isLocal: (result: RefResult) => boolean,
): (result: RefResult, signal: AbortSignal) => Promise<Digest> {
  const unique = withoutCovered(selectors);
  return async (result, signal) => {
    const { ref } = result;
    if (!ref) return emptyDigest(unique);
    const { table } = context.refs;
    const read = { anonymousRoot: isLocal(result), requests: unique };
    const known = table.content(ref, JSON.stringify(read));
    if (known !== undefined) return known;
    const tree = await context.refs.tree(ref, signal);
    try {
      const kept = ref.kind === "source.local" ? keptDigestsPath(ref.id) : undefined;
      const task = { tree, kept, ...read };
      const digest = combineDigests(await context.worker.perform("checksum", task, signal));
      table.keepContent(ref, JSON.stringify(read), digest);
      return digest;
    } catch (error) {
      const code = error instanceof BuildError ? error.code : "CHECKSUM_FAILED";
      const text = `failed to compute cache key: failed to calculate checksum of ref ${ref.id}: ${messageOf(error)}`;
      const failure = new BuildError(code, text, { cause: error });
      context.failed?.(failure, { inputs: [ref], mounts: [], subject: { kind: "cache", index } });
      throw failure;
    }
  };
}

/** Of a result without a layer: it can be read as a whole, and has nothing in it. @throws BuildError NOT_FOUND */
function emptyDigest(selectors: readonly Selector[]): Digest {
  const missing = selectors.find(({ path }) => posix.join("/", path) !== "/");
  if (missing)
    throw new BuildError(
      "NOT_FOUND",
      `failed to compute cache key: failed to calculate checksum of ref: ${missing.path}: no such file or directory`,
    );
  return combineDigests(selectors.map(() => digestOf("")));
}

/** Paths inside others are left out; plain ones first, in order, as BuildKit hashes them. */
function withoutCovered(selectors: readonly Selector[]): Selector[] {
  const isPlain = (s: Selector): boolean =>
    !s.wildcard && s.includePatterns.length === 0 && s.excludePatterns.length === 0;
  const plain = (follow: boolean): Selector[] => {
    const paths = [
      ...new Set(selectors.filter((s) => isPlain(s) && s.followLinks === follow).map((s) => s.path)),
    ];
    return paths
      .filter(
        (path) =>
          !paths.some(
            (other) => other !== path && path.startsWith(other.endsWith("/") ? other : `${other}/`),
          ),
      )
      .sort()
      .map((path) => pathSelector(path, follow));
  };
  const all = [...plain(false), ...plain(true), ...selectors.filter((s) => !isPlain(s))];
  return all.sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));
}
