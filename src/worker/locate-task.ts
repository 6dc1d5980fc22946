// Which layer has brought a file.
import { isWhiteout, join, lstatMaybe, resolveInRoot } from "../layer/index.js";
import { bytePath, type BytePath } from "../linux/index.js";

/**
 * @param layers their folders, lowest first
 * @returns for each path the highest layer that has it, though a higher one may have removed it
 */
export function runLocateTask(layers: readonly BytePath[], paths: readonly string[]): (number | undefined)[] {
  return paths.map((path) => {
    const parts = bytePath(path)
      .split("/")
      .filter((part) => part !== "" && part !== ".");
    const at = layers.findLastIndex((layer) => {
      const own = join(layer, parts.join("/"));
      // nothing is found through a link, which may lead anywhere
      const stat = resolveInRoot(layer, parts.join("/"), false) === own ? lstatMaybe(own) : undefined;
      return stat !== undefined && !isWhiteout(stat);
    });
    return at < 0 ? undefined : at;
  });
}
