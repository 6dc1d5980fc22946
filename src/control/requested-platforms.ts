// Whether a frontend returned what its client asked for: it may leave out a platform, or not know of any. Words and rules
// as the daemon of docker 28.5 has them.
import { formatPlatform, parsePlatform } from "../frontend/index.js";
import { messageOf } from "../lib/index.js";
import type { Platform } from "../llb/index.js";

/**
 * @param requested the frontend's attribute `platform`: "linux/amd64,linux/arm64"
 * @param isMulti the result has a reference for each platform
 * @returns what is wrong, for the client to read
 */
export function platformWarnings(
  requested: string,
  results: readonly Platform[],
  isMulti: boolean,
): readonly string[] {
  const warnings: string[] = [];
  const wanted = new Set<string>();
  const texts = requested.split(",");
  for (const text of texts) {
    let platform = "";
    try {
      platform = formatPlatform(parsePlatform(text));
    } catch (error) {
      warnings.push(`Invalid platform result requested ${JSON.stringify(text)}: ${messageOf(error)}`);
    }
    if (wanted.has(platform)) warnings.push(`Duplicate platform result requested ${JSON.stringify(text)}`);
    wanted.add(platform);
  }
  if (warnings.length > 0) return warnings;
  const found = results.map(formatPlatform);
  if (wanted.size === 1 && found.length === 1) {
    if (wanted.has(found[0]!)) return [];
    return [`Requested platform "${texts[0]!}" does not match result platform "${found[0]!}"`];
  }
  if (!isMulti && wanted.size > 1) return ["Multiple platforms requested but result is not multi-platform"];
  if (wanted.size === found.length && found.every((platform) => wanted.has(platform))) return [];
  const list = (platforms: Iterable<string>): string => [...platforms].sort().join(",");
  return [`Requested platforms ${list(wanted)} do not match result platforms ${list(found)}`];
}
