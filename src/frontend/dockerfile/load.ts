// What every request begins with: the Dockerfile's text and the patterns of its ignore file, read through the host.
import { local, marshal, type Output, type SourceInfo } from "../../llb/index.js";
import { codeOf, messageOf, wrapError } from "../../lib/index.js";
import type { FrontendHost, FrontendRequest } from "../types.js";
import { sessionOf } from "./convert/context.js";
import { readIgnoreFile } from "./ignore.js";
import { Linter, parseLintOptions } from "./lint/index.js";
import { inSubdir, remoteContext } from "./remote-context.js";
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
  const { given = {} } = request;
  const { dockerfileName = "dockerfile" } = given;
  const remote = await remoteContext(request, host);
  const isInContext = remote !== undefined && !request.hasOwnDockerfile;
  const filename = (isInContext ? remote.filename : undefined) ?? request.filename;
  const ignoreName = `${filename}.dockerignore`;
  const wanted = [filename, ignoreName];
  if (filename === "Dockerfile") wanted.push("dockerfile");
  const folder = (): Output =>
    local(
      dockerfileName,
      {
        sessionId: sessionOf(request, dockerfileName),
        sharedKeyHint: dockerfileName,
        followPaths: wanted,
        differ: "none",
      },
      { customName: `[internal] load build definition from ${filename}` },
    );
  const definition = (!isInContext && given.dockerfile) || marshal(isInContext ? remote.output : folder());
  const files = await host.readFiles(definition, wanted).catch((error: unknown) => {
    throw wrapError(error, "DOCKERFILE_UNREADABLE", "failed to read dockerfile");
  });
  const data = files.get(filename) ?? (filename === "Dockerfile" ? files.get("dockerfile") : undefined);
  if (!data) throw new Error(`failed to read dockerfile: open ${filename}: no such file or directory`);
  const source = { filename, data, definition, language: "Dockerfile" };
  if (remote) return { source, excludes: [], remoteContext: inSubdir(remote.output, given.subdir) };
  const excludes = readIgnoreFile(files.get(ignoreName) ?? (await contextIgnore(request, host)));
  return { source, excludes, remoteContext: undefined };
}

async function contextIgnore(request: FrontendRequest, host: FrontendHost): Promise<Uint8Array | undefined> {
  const name = ".dockerignore";
  const { given: { contextName = "context" } = {} } = request;
  const definition = marshal(
    local(
      contextName,
      {
        sessionId: sessionOf(request, contextName),
        sharedKeyHint: `${contextName}-${name}`,
        followPaths: [name],
        differ: "none",
      },
      { customName: `[internal] load ${name}` },
    ),
  );
  try {
    return (await host.readFiles(definition, [name])).get(name);
  } catch (error) {
    // whether the context is needed at all is not known yet
    if (codeOf(error) === "LOCAL_MISSING") return undefined;
    throw error;
  }
}

/** What is linted: the build argument wins over the directive. @throws Error for options that are none */
export function linterFor(request: FrontendRequest, dockerfile: ParsedDockerfile): Linter {
  const text =
    request.buildArgs["BUILDKIT_DOCKERFILE_CHECK"] ?? dockerfile.directives.get("check")?.value ?? "";
  return new Linter(parseLintOptions(text));
}

/** The error with the file it is about. */
export function aboutSource(error: unknown, { filename, data, definition }: SourceInfo): SourceError {
  const located = error instanceof SourceError ? error : new SourceError(messageOf(error), [], error);
  located.file ??= { filename, data, ...(definition && { definition }) };
  return located;
}
