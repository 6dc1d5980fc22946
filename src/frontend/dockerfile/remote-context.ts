// Build contexts that are not the client's: a git repository, an archive behind a URL, or a URL that is the Dockerfile.
import { posix } from "node:path";
import { parseBool, redacted, wrapError } from "../../lib/index.js";
import { definitionOutput, file, marshal, PLAIN_COPY, source, type Output } from "../../llb/index.js";
import type { FrontendHost, FrontendRequest } from "../types.js";
import { gitSource, parseGitRef } from "./git-ref.js";

export interface RemoteContext {
  readonly output: Output;
  /** name of the Dockerfile in it, if it is nothing else */
  readonly filename: string | undefined;
}

const HTTP_NAME = "context";
const ARCHIVES = [
  Buffer.from("BZh"),
  Buffer.from([0x1f, 0x8b, 0x08]),
  Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]),
];

/** @returns `undefined` if the context is the client's folder @throws Error for what is neither a git repository nor a URL */
export async function remoteContext(
  request: FrontendRequest,
  host: FrontendHost,
): Promise<RemoteContext | undefined> {
  const { context: url, given } = request;
  if (url === "" && !given?.context) return undefined;
  if (url === "") return { output: definitionOutput(given!.context!), filename: undefined };
  const keepGitDir = parseBool(request.buildArgs["BUILDKIT_CONTEXT_KEEP_GIT_DIR"] ?? "") === true;
  const git = gitContext(url, keepGitDir);
  if (git) return { output: git, filename: undefined };
  if (!/^https?:\/\//.test(url)) throw new Error(`context ${url} is neither a git repository nor a URL`);
  const options = { customName: "[internal] load remote build context" };
  const http = source(url, { "http.filename": HTTP_NAME }, ["source.http"], options);
  let files;
  try {
    files = await host.readFiles(marshal(http), [HTTP_NAME], 1024);
  } catch (error) {
    throw wrapError(error, "CONTEXT_UNREADABLE", "failed to read downloaded context");
  }
  const head = files.get(HTTP_NAME);
  if (!head || !isArchive(head)) return { output: http, filename: HTTP_NAME };
  return { output: unpacked(http), filename: undefined };
}

/** The git repository that `text` names, as a build context. */
export function gitContext(text: string, keepGitDir: boolean): Output | undefined {
  const ref = parseGitRef(text);
  if (!ref) return undefined;
  const options = { customName: `[internal] load git source ${redacted(text)}` };
  return gitSource(ref, ref.keepGitDir === true || keepGitDir, options);
}

/** A folder of a context as the context. */
export function inSubdir(context: Output, subdir: string | undefined): Output {
  if (!subdir) return context;
  const copy = { ...PLAIN_COPY, src: posix.join("/", subdir), dest: "/", dirCopyContents: true };
  return file(undefined, [{ kind: "copy", source: context, copy }], {});
}

function unpacked(http: Output): Output {
  const copy = { ...PLAIN_COPY, src: `/${HTTP_NAME}`, dest: "/", attemptUnpackDockerCompatibility: true };
  return file(undefined, [{ kind: "copy", source: http, copy }], {});
}

function isArchive(head: Uint8Array): boolean {
  const data = Buffer.from(head);
  return ARCHIVES.some((magic) => data.subarray(0, magic.length).equals(magic)) || isTar(data);
}

/** The first header of a tar archive, by its checksum. */
function isTar(data: Buffer): boolean {
  if (data.length < 512) return false;
  const declared = parseInt(data.toString("latin1", 148, 156).replace(/[\0 ]/g, ""), 8);
  let sum = 0;
  for (let i = 0; i < 512; i++) sum += i >= 148 && i < 156 ? 32 : data[i]!;
  return sum === declared;
}
