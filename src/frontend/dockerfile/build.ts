// The Dockerfile frontend: reads the Dockerfile and the ignore file through its host and converts them, once for each
// platform.
import { parseBool } from "../../lib/index.js";
import type { Platform, SourceInfo } from "../../llb/index.js";
import type { FrontendHost, FrontendOutcome, FrontendRequest, FrontendWarning } from "../types.js";
import { sbomScanner } from "../sbom.js";
import { convert, formatPlatform } from "./convert/index.js";
import { Linter } from "./lint/index.js";
import { aboutSource, linterFor, loadDockerfile } from "./load.js";
import { parseDockerfile } from "./parser/index.js";
import { checkSyntax } from "./syntax.js";

/** Warns only of one platform: the others would say the same. */
const MUTE = new Linter({ skip: "all", experimental: new Set(), error: false });

/**
 * @param warn is told what the linter says, also of a file that cannot be built
 * @throws SourceError with the Dockerfile it is about
 */
export async function buildDockerfile(
  request: FrontendRequest,
  host: FrontendHost,
  warn: (warnings: readonly FrontendWarning[], source: SourceInfo) => void,
): Promise<FrontendOutcome> {
  const showPlatform = isMultiPlatform(request);
  const { source, excludes, remoteContext } = await loadDockerfile(request, host);
  if (source.data.length === 0) throw new Error("the Dockerfile cannot be empty");
  let lint = MUTE;
  try {
    const dockerfile = parseDockerfile(source.data);
    checkSyntax(request, dockerfile);
    lint = linterFor(request, dockerfile);
    const platforms: readonly Platform[] =
      request.platforms.length > 0 ? request.platforms : [request.buildPlatform];
    const loaded = { dockerfile, sourceInfo: source, excludes, remoteContext };
    const input = { ...loaded, request, host, showPlatform, allStages: false };
    const { sbom, pull } = request;
    const scanner = sbom && (await sbomScanner(sbom, host, pull ? "pull" : "default"));
    const results = await Promise.all(
      platforms.map(async (targetPlatform, i) => {
        const result = await convert({ ...input, targetPlatform, lint: i === 0 ? lint : MUTE });
        return { ...result, sbom: scanner?.(formatPlatform(targetPlatform), result.scan) };
      }),
    );
    return { results, source, multiPlatform: showPlatform };
  } catch (error) {
    throw aboutSource(error, source);
  } finally {
    warn(lint.warnings, source);
  }
}

/** Whether there is an index of results, be it of one. @throws Error if that is refused, but several are asked for */
function isMultiPlatform({ platforms, buildArgs, multiPlatform }: FrontendRequest): boolean {
  const text = buildArgs["BUILDKIT_MULTI_PLATFORM"] || multiPlatform;
  const isAsked = text ? parseBool(text) : platforms.length > 1;
  if (isAsked === undefined) throw new Error(`invalid boolean value for multi-platform: ${text}`);
  if (!isAsked && platforms.length > 1)
    throw new Error("conflicting config: returning multiple target platforms is not allowed");
  return isAsked;
}
