// Build arguments outside of stages: the automatic ones of the platforms, and ARG before the first FROM.
import type { Platform } from "../../../llb/index.js";
import type { FrontendRequest } from "../../types.js";
import type { InstructionOf } from "../instructions/index.js";
import { expandWord, type ExpandOptions } from "../shell/index.js";
import { withLocation } from "../source-error.js";
import type { DeclaredArg } from "./outline.js";
import { formatPlatform } from "./platform.js";

export interface GlobalArgs {
  /** what FROM lines may use, and what stages get by naming it in ARG */
  readonly values: ReadonlyMap<string, string>;
  /** those that stand before the first FROM */
  readonly declared: ReadonlyMap<string, DeclaredArg>;
}

/** @throws SourceError */
export function readGlobalArgs(
  request: FrontendRequest,
  targetPlatform: Platform,
  { metaArgs, lastStage }: { readonly metaArgs: readonly InstructionOf<"ARG">[]; readonly lastStage: string },
  shell: ExpandOptions,
): GlobalArgs {
  const build = request.buildPlatform;
  const args = new Map<string, string>([
    ["BUILDPLATFORM", formatPlatform(build)],
    ["BUILDOS", build.OS],
    ["BUILDOSVERSION", build.OSVersion ?? ""],
    ["BUILDARCH", build.Architecture],
    ["BUILDVARIANT", build.Variant ?? ""],
    ["TARGETPLATFORM", formatPlatform(targetPlatform)],
    ["TARGETOS", targetPlatform.OS],
    ["TARGETOSVERSION", targetPlatform.OSVersion ?? ""],
    ["TARGETARCH", targetPlatform.Architecture],
    ["TARGETVARIANT", targetPlatform.Variant ?? ""],
    ["TARGETSTAGE", request.target || lastStage || "default"],
  ]);
  for (const key of args.keys()) {
    const given = request.buildArgs[key];
    if (given !== undefined) args.set(key, given);
  }
  const declared = new Map<string, DeclaredArg>();
  for (const command of metaArgs) {
    const { range, comments } = command;
    for (const { key, value } of command.pairs) {
      try {
        const given = request.buildArgs[key];
        const expansion =
          given === undefined && value !== undefined
            ? expandWord(value, (name) => args.get(name), shell)
            : undefined;
        const final = given ?? expansion?.text;
        if (final !== undefined) args.set(key, final);
        declared.set(key, { value: final, range, comments, uses: expansion?.matched ?? new Set() });
      } catch (error) {
        throw withLocation(error, [range]);
      }
    }
  }
  return { values: args, declared };
}
