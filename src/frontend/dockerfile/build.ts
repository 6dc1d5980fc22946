// The Dockerfile frontend: reads the Dockerfile and the ignore file through its host and converts them, once for each
// platform.
import { parseBool } from "../../lib/index.js";
import type { Platform } from "../../llb/index.js";
import type { FrontendHost, FrontendOutcome, FrontendRequest } from "../types.js";
import { convert } from "./convert/index.js";
import { Linter } from "./lint/index.js";
import { aboutSource, linterFor, loadDockerfile } from "./load.js";
import { parseDockerfile } from "./parser/index.js";
import { checkSyntax } from "./syntax.js";

/** Warns only of one platform: the others would say the same. */
const MUTE = new Linter({ skip: "all", experimental: new Set(), error: false });

/** @throws SourceError with the Dockerfile it is about */
export async function buildDockerfile(
  request: FrontendRequest,
  host: FrontendHost,
): Promise<FrontendOutcome> {
  const { source, excludes, remoteContext } = await loadDockerfile(request, host);
  try {
    const dockerfile = parseDockerfile(source.data);
    checkSyntax(request, dockerfile);
    const lint = linterFor(request, dockerfile);
    const platforms: readonly Platform[] =
      request.platforms.length > 0 ? request.platforms : [request.buildPlatform];
    const showPlatform =
      request.platforms.length > 1 || parseBool(request.buildArgs["BUILDKIT_MULTI_PLATFORM"] ?? "") === true;
    const loaded = { dockerfile, sourceInfo: source, excludes, remoteContext };
    const input = { ...loaded, request, host, showPlatform, allStages: false };
    const results = await Promise.all(
      platforms.map((targetPlatform, i) =>
        convert({ ...input, targetPlatform, lint: i === 0 ? lint : MUTE }),
      ),
    );
    return { results, source, multiPlatform: showPlatform, warnings: lint.warnings };
  } catch (error) {
    throw aboutSource(error, source);
  }
}
