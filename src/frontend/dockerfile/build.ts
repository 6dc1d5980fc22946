// The Dockerfile frontend: reads the Dockerfile and the ignore file through its host and converts them, once for each
// platform.
import { local, marshal, type Platform, type SourceInfo } from "../../llb/index.js";
import { messageOf } from "../../lib/index.js";
import type { FrontendHost, FrontendOutcome, FrontendRequest } from "../types.js";
import { convert } from "./convert/index.js";
import { readIgnoreFile } from "./ignore.js";
import { parseDockerfile } from "./parser/index.js";
import { SourceError } from "./source-error.js";

/** @throws SourceError with the Dockerfile it is about */
export async function buildDockerfile(
  request: FrontendRequest,
  host: FrontendHost,
): Promise<FrontendOutcome> {
  const { filename, sessionId } = request;
  const ignoreName = `${filename}.dockerignore`;
  const wanted = [filename, ignoreName];
  if (filename === "Dockerfile") wanted.push("dockerfile");
  const definition = marshal(
    local(
      "dockerfile",
      { sessionId, sharedKeyHint: "dockerfile", followPaths: wanted, differ: "none" },
      { customName: `[internal] load build definition from ${filename}` },
    ),
  );
  const files = await host.readFiles(definition, wanted);
  const data = files.get(filename) ?? (filename === "Dockerfile" ? files.get("dockerfile") : undefined);
  if (!data) throw new Error(`failed to read dockerfile: open ${filename}: no such file or directory`);
  const sourceInfo: SourceInfo = { filename, data, definition, language: "Dockerfile" };
  try {
    const dockerfile = parseDockerfile(data);
    const excludes = readIgnoreFile(files.get(ignoreName) ?? (await contextIgnore(request, host)));
    const platforms: readonly Platform[] =
      request.platforms.length > 0 ? request.platforms : [request.buildPlatform];
    const showPlatform = request.platforms.length > 1 || isTrue(request.buildArgs["BUILDKIT_MULTI_PLATFORM"]);
    const input = { request, host, dockerfile, sourceInfo, excludes, showPlatform };
    const results = await Promise.all(
      platforms.map((targetPlatform) => convert({ ...input, targetPlatform })),
    );
    return { results, source: sourceInfo, multiPlatform: showPlatform };
  } catch (error) {
    if (!(error instanceof SourceError)) throw new SourceError(messageOf(error), [], error);
    error.file ??= { filename, data };
    throw error;
  }
}

async function contextIgnore(request: FrontendRequest, host: FrontendHost): Promise<Uint8Array | undefined> {
  const name = ".dockerignore";
  const definition = marshal(
    local(
      "context",
      { sessionId: request.sessionId, sharedKeyHint: `context-${name}`, followPaths: [name], differ: "none" },
      { customName: `[internal] load ${name}` },
    ),
  );
  return (await host.readFiles(definition, [name])).get(name);
}

function isTrue(text: string | undefined): boolean {
  return text !== undefined && ["1", "t", "T", "TRUE", "true", "True"].includes(text);
}
