// Build arguments outside of stages: the automatic ones of the platforms, and ARG before the first FROM.
import type { Platform } from "../../../llb/index.js";
import type { FrontendRequest } from "../../types.js";
import type { InstructionOf } from "../instructions/index.js";
import { expandWord, type ExpandOptions } from "../shell/index.js";
import { withLocation } from "../source-error.js";
import { formatPlatform } from "./platform.js";

/** What FROM lines may use, and what stages get by naming it in ARG. @throws SourceError */
export function readGlobalArgs(
  request: FrontendRequest,
  targetPlatform: Platform,
  metaArgs: readonly InstructionOf<"ARG">[],
  shell: ExpandOptions,
): Map<string, string> {
  const build = request.buildPlatform;
  const args = new Map<string, string>([
    ["BUILDPLATFORM", formatPlatform(build)],
    ["BUILDOS", build.OS],
    ["BUILDOSVERSION", ""],
    ["BUILDARCH", build.Architecture],
    ["BUILDVARIANT", build.Variant ?? ""],
    ["TARGETPLATFORM", formatPlatform(targetPlatform)],
    ["TARGETOS", targetPlatform.OS],
    ["TARGETOSVERSION", ""],
    ["TARGETARCH", targetPlatform.Architecture],
    ["TARGETVARIANT", targetPlatform.Variant ?? ""],
    ["TARGETSTAGE", request.target === "" ? "default" : request.target],
  ]);
  for (const key of args.keys()) {
    const given = request.buildArgs[key];
    if (given !== undefined) args.set(key, given);
  }
  for (const command of metaArgs) {
    for (const { key, value } of command.pairs) {
      try {
        const given = request.buildArgs[key];
        const final =
          given ??
          (value === undefined ? undefined : expandWord(value, (name) => args.get(name), shell).text);
        if (final !== undefined) args.set(key, final);
      } catch (error) {
        throw withLocation(error, [command.range]);
      }
    }
  }
  return args;
}
