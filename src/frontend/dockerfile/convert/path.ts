// Paths as BuildKit normalizes them for copies: cleaned, absolute, a trailing slash kept where it carries meaning.
import { posix } from "node:path";

/** Go's path.Clean: no trailing slash, "" is ".". */
export function clean(path: string): string {
  const normal = posix.normalize(path);
  return normal.length > 1 && normal.endsWith("/") ? normal.slice(0, -1) : normal;
}

/** `path` from `parent`; with `keepSlash`, "dir/" and "dir/." keep that they are folders. */
export function resolvePath(parent: string, path: string, keepSlash: boolean): string {
  const result = clean(posix.isAbsolute(path) ? path : posix.join("/", parent, path));
  if (!keepSlash || result === "/") return result;
  const isFolder = path.endsWith("/") || path.endsWith("/.") || path === "." || path === ".." || path === "";
  return isFolder ? `${result}/` : result;
}
