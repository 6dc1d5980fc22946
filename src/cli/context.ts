// Where the build context and the Dockerfile come from: a folder, standard input as a tar or as a Dockerfile, or a URL
// that is left to the builder.
import { existsSync, mkdtempSync, statSync, writeFileSync } from "node:fs";
import { access, constants, mkdir, rm } from "node:fs/promises";
import { spawn } from "node:child_process";
import { tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { parseGitRef } from "../frontend/index.js";
import { BuildError, codeOf, messageOf } from "../lib/index.js";

export interface BuildContext {
  /** git repository or URL; empty: a folder here */
  readonly url: string;
  readonly folder: string;
  /** folder and name of the Dockerfile */
  readonly dockerfileFolder: string;
  readonly filename: string;
  /** the Dockerfile does not come with the context */
  readonly hasOwnDockerfile: boolean;
  /** removes what was made for the build */
  close(): Promise<void>;
}

/**
 * @param path the positional argument: a folder, "-", a git repository or a URL
 * @param file --file: a path, "-" for standard input, a URL, "" for Dockerfile in the context
 * @throws BuildError CONTEXT_*, DOCKERFILE_MISSING
 */
export async function openContext(
  path: string,
  file: string,
  stdin: NodeJS.ReadStream,
): Promise<BuildContext> {
  const temporary: string[] = [];
  const makeFolder = (): string => {
    const folder = mkdtempSync(join(tmpdir(), "bluekiln-"));
    temporary.push(folder);
    return folder;
  };
  const close = async (): Promise<void> => {
    await Promise.all(temporary.map((folder) => rm(folder, { recursive: true, force: true })));
  };
  try {
    if (path === "-" && file === "-")
      throw new BuildError(
        "CONTEXT_INVALID",
        "invalid argument: can't use stdin for both build context and dockerfile",
      );
    if (path === "-") {
      const head = await peek(stdin);
      const folder = makeFolder();
      if (head.isTar) {
        await extract(head.data, stdin, folder);
        return { ...HERE, folder, ...dockerfileIn(folder, file), close };
      }
      writeFileSync(join(folder, "Dockerfile"), await readAll(head.data, stdin));
      const empty = makeFolder();
      return { ...HERE, folder: empty, dockerfileFolder: folder, filename: "Dockerfile", close };
    }
    const ownDockerfile = await dockerfileFrom(file, stdin, makeFolder);
    const folder = resolve(path);
    if (!existsSync(folder) && (/^https?:\/\//.test(path) || parseGitRef(path))) {
      const inContext = { dockerfileFolder: makeFolder(), filename: file === "" ? "Dockerfile" : file };
      const hasOwnDockerfile = ownDockerfile !== undefined;
      return { url: path, folder: makeFolder(), ...(ownDockerfile ?? inContext), hasOwnDockerfile, close };
    }
    let isFolder = false;
    try {
      isFolder = statSync(folder).isDirectory();
      await access(folder, constants.R_OK | constants.X_OK);
    } catch (cause) {
      const problem =
        codeOf(cause) === "ENOENT"
          ? `path "${path}" not found`
          : `path "${path}" cannot be read (${codeOf(cause)})`;
      throw new BuildError("CONTEXT_MISSING", `unable to prepare context: ${problem}`, { cause });
    }
    if (!isFolder)
      throw new BuildError("CONTEXT_INVALID", `unable to prepare context: path "${path}" is not a folder`);
    return { ...HERE, folder, ...(ownDockerfile ?? dockerfileIn(folder, file)), close };
  } catch (error) {
    await close();
    throw error;
  }
}

const HERE = { url: "", hasOwnDockerfile: true };

/** A Dockerfile from standard input or a URL, in a folder of its own. */
async function dockerfileFrom(
  file: string,
  stdin: NodeJS.ReadStream,
  makeFolder: () => string,
): Promise<{ dockerfileFolder: string; filename: string } | undefined> {
  let data: Uint8Array;
  if (file === "-") data = await readAll(Buffer.alloc(0), stdin);
  else if (/^https?:\/\//.test(file)) data = await download(file);
  else return undefined;
  const folder = makeFolder();
  writeFileSync(join(folder, "Dockerfile"), data);
  return { dockerfileFolder: folder, filename: "Dockerfile" };
}

async function download(url: string): Promise<Uint8Array> {
  let problem: string;
  try {
    const response = await fetch(url);
    if (response.ok) return new Uint8Array(await response.arrayBuffer());
    problem = `status ${response.status}`;
  } catch (error) {
    problem = messageOf((error as Error).cause ?? error);
  }
  throw new BuildError("DOCKERFILE_MISSING", `failed to download remote Dockerfile ${url}: ${problem}`);
}

function dockerfileIn(context: string, file: string): { dockerfileFolder: string; filename: string } {
  if (file === "") return { dockerfileFolder: context, filename: "Dockerfile" };
  const path = resolve(file);
  return { dockerfileFolder: dirname(path), filename: basename(path) };
}

async function peek(stdin: NodeJS.ReadStream): Promise<{ data: Buffer; isTar: boolean }> {
  let data = Buffer.alloc(0);
  while (data.length < 512) {
    const chunk = (stdin.read() ?? (await nextChunk(stdin))) as Buffer | undefined;
    if (!chunk) break;
    data = Buffer.concat([data, chunk]);
  }
  const isGzip = data[0] === 0x1f && data[1] === 0x8b;
  const isXz = data.subarray(0, 5).equals(Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a]));
  const isBzip = data.subarray(0, 3).toString() === "BZh";
  return { data, isTar: isGzip || isXz || isBzip || data.toString("latin1", 257, 262) === "ustar" };
}

function nextChunk(stdin: NodeJS.ReadStream): Promise<Buffer | undefined> {
  return new Promise((resolve, reject) => {
    const done = (): void => {
      stdin.off("readable", onReadable).off("end", onEnd).off("error", reject);
    };
    const onReadable = (): void => {
      const chunk = stdin.read() as Buffer | null;
      if (chunk === null) return;
      done();
      resolve(chunk);
    };
    const onEnd = (): void => {
      done();
      resolve(undefined);
    };
    stdin.on("readable", onReadable).on("end", onEnd).on("error", reject);
  });
}

async function readAll(head: Buffer, stdin: NodeJS.ReadStream): Promise<Buffer> {
  const chunks = [head];
  if (!stdin.readableEnded) for await (const chunk of stdin) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

async function extract(head: Buffer, stdin: NodeJS.ReadStream, folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  const child = spawn("tar", ["-x", "-f", "-", "-C", folder, ...compressionFlag(head)], {
    stdio: ["pipe", "ignore", "pipe"],
  });
  const errors: Buffer[] = [];
  child.stderr.on("data", (chunk: Buffer) => errors.push(chunk));
  child.stdin.on("error", () => undefined);
  child.stdin.write(head);
  if (stdin.readableEnded) child.stdin.end();
  else stdin.pipe(child.stdin);
  const code = await new Promise<number | null>((done, reject) =>
    child.once("error", reject).once("close", done),
  );
  if (code !== 0)
    throw new BuildError(
      "CONTEXT_INVALID",
      `unable to prepare context: ${Buffer.concat(errors).toString().trim()}`,
    );
}

function compressionFlag(head: Buffer): string[] {
  if (head[0] === 0x1f) return ["-z"];
  if (head[0] === 0xfd) return ["-J"];
  return head.subarray(0, 3).toString() === "BZh" ? ["-j"] : [];
}
