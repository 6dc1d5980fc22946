// Git repositories through the git command: which commit a ref is, and that commit's files. A repository is fetched
// anew, one commit deep, into a folder of its own: what is built from it is found in the cache by its commit.
// Secrets go to git in its environment, never on a command line.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, lstat, mkdir, mkdtemp, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { BuildError, codeOf, messageOf } from "../lib/index.js";

export interface GitRequest {
  readonly remote: string;
  /** branch, tag, commit, or empty for the remote's HEAD */
  readonly ref: string;
  readonly subdir: string;
  /** what the ref names, or the commit behind it, has to begin with it */
  readonly checksum: string;
  readonly keepGitDir: boolean;
  readonly skipSubmodules: boolean;
  /** value of an Authorization header for http remotes */
  readonly authorization: string | undefined;
  readonly agentSocket: string | undefined;
  /** lines as of ssh's known_hosts; empty: any host is taken for what it says */
  readonly knownHosts: string;
}

export interface GitCommit {
  /** or the annotated tag before it, if that was asked for */
  readonly commit: string;
  /** full name of the ref it was found by; empty for a commit */
  readonly ref: string;
}

const MASK = "xxxxx";
const COMMIT = /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/;

interface FoundRef extends GitCommit {
  /** what the ref names itself: an annotated tag, or the commit */
  readonly object: string;
}

/**
 * A checksum that is a whole commit says all there is to know: nobody is asked, and whether the ref is that is seen when it
 * is checked out.
 * @throws BuildError GIT_FAILED, GIT_REF_INVALID, GIT_REF_MISSING, CHECKSUM_INVALID, CHECKSUM_MISMATCH
 */
export async function resolveGit(request: GitRequest, signal: AbortSignal): Promise<GitCommit> {
  const { ref, checksum, keepGitDir } = request;
  if (ref.startsWith("-")) throw new BuildError("GIT_REF_INVALID", `invalid git ref ${JSON.stringify(ref)}`);
  if (!/^[0-9a-f]*$/i.test(checksum))
    throw new BuildError(
      "CHECKSUM_INVALID",
      `invalid checksum ${checksum} for Git URL, expected hex commit hash`,
    );
  if (COMMIT.test(checksum) && !keepGitDir) return { commit: checksum, ref };
  if (COMMIT.test(ref)) {
    checkObject(request, { commit: ref, ref: "", object: ref });
    return { commit: ref, ref: "" };
  }
  const found = await findRef(request, signal);
  checkObject(request, found);
  return { commit: found.commit, ref: found.ref };
}

function checkObject({ checksum }: GitRequest, { commit, object }: FoundRef): void {
  const wanted = checksum.toLowerCase();
  if (!commit.startsWith(wanted) && !object.startsWith(wanted))
    throw new BuildError("CHECKSUM_MISMATCH", `expected checksum to match ${checksum}, got ${object}`);
}

async function findRef(request: GitRequest, signal: AbortSignal): Promise<FoundRef> {
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
    const object = refs.get(name);
    const commit = refs.get(`${name}^{}`) ?? object;
    if (commit !== undefined) return { commit, ref: name === "HEAD" ? head : name, object: object ?? commit };
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
  const { remote, subdir, keepGitDir, skipSubmodules, checksum } = request;
  // it was not compared with what the ref is yet
  if (commit === checksum)
    checkObject(
      request,
      COMMIT.test(request.ref)
        ? { commit: request.ref, ref: "", object: request.ref }
        : await findRef(request, signal),
    );
  const tree = join(work, "tree");
  await mkdir(tree, { recursive: true });
  const run = (...args: string[]): Promise<string> => git(args, request, tree, signal);
  const format = commit.length === 64 ? ["--object-format=sha256"] : [];
  try {
    await run("-c", "init.defaultBranch=master", "init", "--quiet", ...format);
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

/** Servers that only hand out files know nothing of depths: from them, and from what they lead to, everything is taken. */
async function git(
  args: readonly string[],
  request: GitRequest,
  folder: string | undefined,
  signal: AbortSignal,
): Promise<string> {
  try {
    return await runGit(args, request, folder, signal);
  } catch (error) {
    const whole = args.filter((arg) => !arg.startsWith("--depth="));
    if (whole.length === args.length || !/--depth|shallow/.test(messageOf(error))) throw error;
    return runGit(whole, request, folder, signal);
  }
}

async function runGit(
  args: readonly string[],
  { authorization, agentSocket, knownHosts }: GitRequest,
  folder: string | undefined,
  signal: AbortSignal,
): Promise<string> {
  if (knownHosts === "") return spawnGit(args, { authorization, agentSocket, folder, signal });
  const own = await mkdtemp(join(tmpdir(), "bluekiln-git-"));
  try {
    const knownHostsFile = join(own, "known_hosts");
    await writeFile(knownHostsFile, knownHosts, { mode: 0o600 });
    return await spawnGit(args, { authorization, agentSocket, folder, signal, knownHostsFile });
  } finally {
    await rm(own, { recursive: true, force: true });
  }
}

function sshHosts(file: string | undefined): string {
  return file === undefined
    ? "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
    : `-o StrictHostKeyChecking=yes -o UserKnownHostsFile=${file}`;
}

interface GitCall {
  readonly authorization: string | undefined;
  readonly agentSocket: string | undefined;
  readonly folder: string | undefined;
  readonly knownHostsFile?: string;
  readonly signal: AbortSignal;
}

async function spawnGit(
  args: readonly string[],
  { authorization, agentSocket, folder, knownHostsFile, signal }: GitCall,
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
    GIT_SSH_COMMAND: `ssh -F /dev/null ${sshHosts(knownHostsFile)}`,
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

/** A URL whose user and password nobody sees. */
export function redacted(remote: string): string {
  return remote.replace(
    /^([a-z][a-z0-9+.-]*:\/\/)([^/@:]*)(:[^/@]*)?@/i,
    (_, scheme: string, user: string, password: string | undefined) =>
      `${scheme}${user && MASK}${password === undefined ? "" : `:${MASK}`}@`,
  );
}
