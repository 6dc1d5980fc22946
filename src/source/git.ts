// Git repositories through the git command: which commit a ref is, and that commit's files. A repository is fetched
// anew, one commit deep, into a folder of its own: what is built from it is found in the cache by its commit.
// Secrets go to git in its environment, never on a command line.
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmod,
  lstat,
  mkdir,
  mkdtemp,
  readFile,
  readdir,
  rename,
  rm,
  stat,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { text } from "node:stream/consumers";
import { BuildError, codeOf, messageOf, redacted } from "../lib/index.js";

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

/** Where a commit is put that no ref of the remote is taken for. */
const WANTED = "refs/bluekiln/wanted";
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
  if (COMMIT.test(ref)) return { commit: ref, ref: "" };
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
  const full = (prefix: string): string => (ref.startsWith(prefix) ? ref : prefix + ref);
  const names = ref === "" ? ["HEAD"] : ["refs/", "refs/heads/", "refs/tags/"].map(full);
  for (const name of names) {
    // an annotated tag stands for the commit behind it
    const object = refs.get(name);
    const commit = refs.get(`${name}^{}`) ?? object;
    if (commit !== undefined) return { commit, ref: name === "HEAD" ? head : name, object: object ?? commit };
  }
  throw new BuildError(
    "GIT_REF_MISSING",
    `repository does not contain ref ${ref}, output: ${JSON.stringify(listing)}`,
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
  const { subdir, keepGitDir, skipSubmodules } = request;
  // these were not compared with what the ref is yet
  if (COMMIT.test(request.ref)) checkObject(request, { commit: request.ref, ref: "", object: request.ref });
  else if (commit === request.checksum) checkObject(request, await findRef(request, signal));
  const tree = join(work, "tree");
  await mkdir(tree, { recursive: true });
  const run = (...args: string[]): Promise<string> => git(args, request, tree, signal);
  const format = commit.length === 64 ? ["--object-format=sha256"] : [];
  try {
    await run("-c", "init.defaultBranch=master", "init", "--quiet", ...format);
    await run("remote", "add", "origin", request.remote);
    await telling(request, "fetch", fetchCommit(run, commit, ref, keepGitDir));
    await telling(request, "checkout", run("checkout", "--quiet", "--force", "--detach", commit));
    if (!skipSubmodules) {
      const update = ["submodule", "update", "--init", "--recursive", "--depth=1", "--quiet"];
      await telling(request, "update submodules of", run(...update));
    }
    if (keepGitDir) await tidy(run, join(tree, ".git"), request.remote);
    else await rm(join(tree, ".git"), { recursive: true, force: true });
    await moveContents(subdir === "" ? tree : await subfolder(tree, subdir), target);
  } finally {
    await rm(tree, { recursive: true, force: true });
  }
}

/** @throws BuildError GIT_FAILED with what could not be done */
async function telling(request: GitRequest, what: string, work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!(error instanceof BuildError && error.code === "GIT_FAILED")) throw error;
    const problem = `failed to ${what} remote ${redacted(request.remote)}: ${error.message}`;
    throw new BuildError("GIT_FAILED", problem, { cause: error });
  }
}

type Run = (...args: string[]) => Promise<string>;

/** What was only for fetching it is not left in a repository that is kept, least of all passwords. */
async function tidy(run: Run, folder: string, remote: string): Promise<void> {
  await run("reflog", "expire", "--all", "--expire=now");
  await run("update-ref", "-d", WANTED);
  await rm(join(folder, dirname(WANTED)), { recursive: true, force: true });
  await rm(join(folder, "FETCH_HEAD"), { force: true });
  const user = /^[a-z][a-z0-9+.-]*:\/\/[^/@]*@/i.exec(remote)?.[0];
  if (user === undefined) return;
  const secret = Buffer.from(user).toString("latin1");
  for (const file of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const path = join(file.parentPath, file.name);
    if (!file.isFile() || path.includes("/objects/")) continue;
    const content = await readFile(path, "latin1");
    if (content.includes(secret)) await writeFile(path, content.replaceAll(secret, redacted(user)), "latin1");
  }
}

/**
 * By the commit itself where the server allows that, else by its ref, else everything.
 * @param keepsRefs a repository that is kept has the branch or tag, and tags of the commit, as `git describe` wants them
 */
async function fetchCommit(run: Run, commit: string, ref: string, keepsRefs: boolean): Promise<void> {
  const fetch = ["fetch", "--quiet", "--force", "--update-head-ok"];
  const isThere = (): Promise<boolean> =>
    run("cat-file", "-e", commit).then(
      () => true,
      () => false,
    );
  const attempts = [
    ...(keepsRefs && ref !== "" ? [["--depth=1", "origin", `${ref}:${ref}`]] : []),
    keepsRefs ? ["--depth=1", "origin", `${commit}:${WANTED}`] : ["--depth=1", "--no-tags", "origin", commit],
    ...(ref !== "" ? [["--depth=1", "--no-tags", "origin", `${ref}:${WANTED}`]] : []),
    ["origin", "+refs/*:refs/remotes/origin/*"],
  ];
  let failed: unknown;
  for (const attempt of attempts) {
    try {
      await run(...fetch, ...attempt);
      if (await isThere()) return;
    } catch (error) {
      failed ??= error;
    }
  }
  if (failed) throw failed;
}

/** A folder of the repository; links on the way could lead out of it. */
async function subfolder(tree: string, subdir: string): Promise<string> {
  let path = "";
  for (const part of subdir.split("/")) {
    const isThere = (await readdir(join(tree, path))).includes(part);
    path = join(path, part);
    const problem = !isThere
      ? `failed to lstat ${JSON.stringify(path)}: no such file or directory`
      : !(await lstat(join(tree, path))).isDirectory() &&
        `git subpath ${JSON.stringify(`/${subdir}`)} contains non-directory ${JSON.stringify(path)}`;
    if (problem) throw new BuildError("GIT_SUBDIR_MISSING", `invalid subdir /${subdir}: ${problem}`);
  }
  return join(tree, path);
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
  const config: [string, string][] = [
    ["protocol.file.allow", "never"],
    // it goes on after git has ended, in a folder that is removed
    ["maintenance.auto", "false"],
  ];
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
