// Git repositories through the git command: which commit a ref is, and that commit's files. A repository is fetched
// anew, one commit deep, into a folder of its own: what is built from it is found in the cache by its commit.
// Secrets go to git in its environment, never on a command line.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, lstat, mkdir, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { BuildError, codeOf, messageOf } from "../lib/index.js";

export interface GitRequest {
  readonly remote: string;
  /** branch, tag, commit, or empty for the remote's HEAD */
  readonly ref: string;
  readonly subdir: string;
  /** the commit has to begin with it */
  readonly checksum: string;
  readonly keepGitDir: boolean;
  readonly skipSubmodules: boolean;
  /** value of an Authorization header for http remotes */
  readonly authorization: string | undefined;
  readonly agentSocket: string | undefined;
}

export interface GitCommit {
  readonly commit: string;
  /** full name of the ref it was found by; empty for a commit */
  readonly ref: string;
}

const COMMIT = /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/;

/** @throws BuildError GIT_FAILED, GIT_REF_MISSING, CHECKSUM_MISMATCH */
export async function resolveGit(request: GitRequest, signal: AbortSignal): Promise<GitCommit> {
  const found = COMMIT.test(request.ref) ? { commit: request.ref, ref: "" } : await findRef(request, signal);
  const { checksum } = request;
  if (checksum !== "" && !found.commit.startsWith(checksum.toLowerCase()))
    throw new BuildError("CHECKSUM_MISMATCH", `expected checksum to match ${checksum}, got ${found.commit}`);
  return found;
}

async function findRef(request: GitRequest, signal: AbortSignal): Promise<GitCommit> {
  const { remote, ref } = request;
  const patterns = ref === "" ? ["HEAD"] : [ref, `${ref}^{}`];
  let listing: string;
  try {
    listing = await git(["ls-remote", "--symref", "--", remote, ...patterns], request, undefined, signal);
  } catch (error) {
    throw new BuildError("GIT_FAILED", `failed to fetch remote ${redacted(remote)}: ${messageOf(error)}`, {
      cause: error,
    });
  }
  const refs = new Map<string, string>();
  let head = "";
  for (const line of listing.split("\n")) {
    const [first, name] = line.split("\t");
    if (name === undefined) continue;
    if (first!.startsWith("ref: ")) head = first!.slice(5);
    else refs.set(name, first!);
  }
  const names = ref === "" ? ["HEAD"] : [ref, `refs/heads/${ref}`, `refs/tags/${ref}`];
  for (const name of names) {
    // an annotated tag stands for the commit behind it
    const commit = refs.get(`${name}^{}`) ?? refs.get(name);
    if (commit !== undefined) return { commit, ref: name === "HEAD" ? head : name };
  }
  throw new BuildError(
    "GIT_REF_MISSING",
    `repository does not contain ref ${redacted(remote)}, output: ${JSON.stringify(ref)}`,
  );
}

/**
 * Puts the files of a commit into the empty folder `target`.
 * @param work a folder to use meanwhile
 * @throws BuildError GIT_FAILED, GIT_SUBDIR_MISSING
 */
export async function checkoutGit(
  request: GitRequest,
  { commit, ref }: GitCommit,
  target: string,
  work: string,
  signal: AbortSignal,
): Promise<void> {
  const { remote, subdir, keepGitDir, skipSubmodules } = request;
  const tree = join(work, "tree");
  await mkdir(tree, { recursive: true });
  const run = (...args: string[]): Promise<string> => git(args, request, tree, signal);
  try {
    await run("-c", "init.defaultBranch=master", "init", "--quiet");
    await run("remote", "add", "origin", remote);
    await fetchCommit(run, commit, ref);
    await run("checkout", "--quiet", "--force", "--detach", commit);
    if (!skipSubmodules) await run("submodule", "update", "--init", "--recursive", "--depth=1", "--quiet");
    if (keepGitDir) {
      await run("reflog", "expire", "--all", "--expire=now");
      await rm(join(tree, ".git", "FETCH_HEAD"), { force: true });
    } else await rm(join(tree, ".git"), { recursive: true, force: true });
    await moveContents(subdir === "" ? tree : await subfolder(tree, subdir), target);
  } catch (error) {
    if (signal.aborted || (error instanceof BuildError && error.code !== "GIT_FAILED")) throw error;
    throw new BuildError("GIT_FAILED", `failed to fetch remote ${redacted(remote)}: ${messageOf(error)}`, {
      cause: error,
    });
  } finally {
    await rm(tree, { recursive: true, force: true });
  }
}

/** By the commit itself where the server allows that, else by its ref, else everything. */
async function fetchCommit(
  run: (...args: string[]) => Promise<string>,
  commit: string,
  ref: string,
): Promise<void> {
  const fetch = ["fetch", "--quiet", "--no-tags", "--force"];
  try {
    await run(...fetch, "--depth=1", "origin", commit);
  } catch (error) {
    if (ref !== "") {
      const wanted = `${ref}:refs/bluekiln/wanted`;
      await run(...fetch, "--depth=1", "origin", wanted).catch(() => undefined);
      const isThere = await run("cat-file", "-e", commit).then(
        () => true,
        () => false,
      );
      if (isThere) return;
    }
    await run("fetch", "--quiet", "--force", "origin", "+refs/*:refs/remotes/origin/*").catch(() => {
      throw error;
    });
  }
}

/** A folder of the repository; links on the way could lead out of it. */
async function subfolder(tree: string, subdir: string): Promise<string> {
  let path = tree;
  for (const part of subdir.split("/")) {
    const names: string[] = await readdir(path).catch(() => []);
    if (!names.includes(part)) throw missing(subdir);
    path = join(path, part);
    if (!(await lstat(path)).isDirectory()) throw missing(subdir);
  }
  return path;
}

function missing(subdir: string): BuildError {
  return new BuildError(
    "GIT_SUBDIR_MISSING",
    `subdir ${JSON.stringify(subdir)} is no folder of the repository`,
  );
}

async function moveContents(from: string, to: string): Promise<void> {
  const { mode } = await stat(from);
  for (const name of await readdir(from)) await rename(join(from, name), join(to, name));
  await chmod(to, mode & 0o7777);
}

async function git(
  args: readonly string[],
  { authorization, agentSocket }: GitRequest,
  folder: string | undefined,
  signal: AbortSignal,
): Promise<string> {
  const config: [string, string][] = [["protocol.file.allow", "never"]];
  if (authorization !== undefined) config.push(["http.extraheader", `Authorization: ${authorization}`]);
  const env: NodeJS.ProcessEnv = {
    PATH: process.env["PATH"],
    HOME: "/nonexistent",
    LC_ALL: "C",
    GIT_CONFIG_NOSYSTEM: "1",
    GIT_CONFIG_GLOBAL: "/dev/null",
    GIT_TERMINAL_PROMPT: "0",
    GIT_SSH_COMMAND: "ssh -F /dev/null -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile=/dev/null",
    GIT_CONFIG_COUNT: String(config.length),
    ...(agentSocket !== undefined && { SSH_AUTH_SOCK: agentSocket }),
  };
  for (const name of ["http_proxy", "https_proxy", "no_proxy", "all_proxy", "SSL_CERT_FILE"])
    for (const variant of [name, name.toUpperCase()])
      if (process.env[variant]) env[variant] = process.env[variant];
  config.forEach(([key, value], i) =>
    Object.assign(env, { [`GIT_CONFIG_KEY_${i}`]: key, [`GIT_CONFIG_VALUE_${i}`]: value }),
  );
  // modes as they are in every checkout, whatever this process's mask
  const child = spawn("/bin/sh", ["-c", 'umask 022; exec git "$@"', "git", ...args], {
    env,
    cwd: folder,
    signal,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const closed = once(child, "close") as Promise<[number | null]>;
  try {
    const [out, errors, [code]] = await Promise.all([text(child.stdout), text(child.stderr), closed]);
    if (code === 127)
      throw new BuildError("GIT_MISSING", "git sources need the git command; please install git");
    if (code !== 0)
      throw new BuildError("GIT_FAILED", `git stderr:\n${errors.trimEnd()}: exit status ${code}`);
    return out;
  } catch (error) {
    if (codeOf(error) === "ABORT_ERR") throw signal.reason;
    throw error;
  }
}

/** Without user and password. */
function redacted(remote: string): string {
  return remote.replace(/^([a-z]+:\/\/)[^/@]*@/, "$1");
}
