// What every request begins with: the Dockerfile's text and the patterns of its ignore file, read through the host.
import { local, marshal, type Output, type SourceInfo } from "../../llb/index.js";
import { messageOf } from "../../lib/index.js";
import type { FrontendHost, FrontendRequest } from "../types.js";
import { readIgnoreFile } from "./ignore.js";
import { Linter, parseLintOptions } from "./lint/index.js";
import { openRemoteContext } from "./remote-context.js";
import type { ParsedDockerfile } from "./parser/index.js";
import { SourceError } from "./source-error.js";

export interface LoadedDockerfile {
  readonly source: SourceInfo;
  /** patterns of .dockerignore; a remote context has none */
  readonly excludes: readonly string[];
  readonly remoteContext: Output | undefined;
}

/** @throws Error `failed to read dockerfile: open NAME: no such file or directory` */
export async function loadDockerfile(
  request: FrontendRequest,
  host: FrontendHost,
): Promise<LoadedDockerfile> {
  const { sessionId } = request;
  const remote = request.context === "" ? undefined : await openRemoteContext(request.context, request, host);
  const isInContext = remote !== undefined && !request.hasOwnDockerfile;
  const filename = (isInContext ? remote.filename : undefined) ?? request.filename;
  const ignoreName = `${filename}.dockerignore`;
  const wanted = [filename, ignoreName];
  if (filename === "Dockerfile") wanted.push("dockerfile");
  const definition = marshal(
    isInContext
      ? remote.output
      : local(
          "dockerfile",
          { sessionId, sharedKeyHint: "dockerfile", followPaths: wanted, differ: "none" },
          { customName: `[internal] load build definition from ${filename}` },
        ),
  );
  const files = await host.readFiles(definition, wanted);
  const data = files.get(filename) ?? (filename === "Dockerfile" ? files.get("dockerfile") : undefined);
  if (!data) throw new Error(`failed to read dockerfile: open ${filename}: no such file or directory`);
  const source = { filename, data, definition, language: "Dockerfile" };
  if (remote) return { source, excludes: [], remoteContext: remote.output };
  const excludes = readIgnoreFile(files.get(ignoreName) ?? (await contextIgnore(request, host)));
  return { source, excludes, remoteContext: undefined };
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

/** What is linted: the build argument wins over the directive. @throws Error for options that are none */
export function linterFor(request: FrontendRequest, dockerfile: ParsedDockerfile): Linter {
  const text =
    request.buildArgs["BUILDKIT_DOCKERFILE_CHECK"] ?? dockerfile.directives.get("check")?.value ?? "";
  return new Linter(parseLintOptions(text));
}

/** The error with the file it is about. */
export function aboutSource(error: unknown, { filename, data }: SourceInfo): SourceError {
  const located = error instanceof SourceError ? error : new SourceError(messageOf(error), [], error);
  located.file ??= { filename, data };
  return located;
}
