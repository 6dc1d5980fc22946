// Git repositories as sources: the key is the commit, the result its files.
import { join } from "node:path";
import { BuildError, messageOf, redacted } from "../lib/index.js";
import type { CacheMap, Op } from "../solver/index.js";
import { checkoutGit, resolveGit, type GitCommit, type GitRequest } from "../source/index.js";
import { sourceKey, type OpContext, type RefResult } from "./context.js";

/** What git takes: "ssh://", "user@host:path". */
const TRANSPORT = /^(?:(?:https?|ssh|git|file):\/\/|[^/@]+@[^/:]+:)/;

export class GitOp implements Op<RefResult> {
  readonly #id: string;
  readonly #attrs: Readonly<Record<string, string>>;
  readonly #context: OpContext;
  readonly #stateRoot: string;
  #result: Promise<RefResult> | undefined;
  #resolved: Promise<{ request: GitRequest; commit: GitCommit }> | undefined;

  constructor(id: string, attrs: Readonly<Record<string, string>>, context: OpContext, stateRoot: string) {
    this.#id = id;
    this.#attrs = attrs;
    this.#context = context;
    this.#stateRoot = stateRoot;
  }

  async cacheMaps(signal: AbortSignal): Promise<readonly CacheMap<RefResult>[]> {
    this.#resolved ??= this.#resolve(signal);
    try {
      const { request, commit } = await this.#resolved;
      const remote = redacted(request.remote);
      const uri = request.ref === "" ? remote : `${remote}#${request.ref}`;
      const algorithm = commit.commit.length === 64 ? "sha256" : "sha1";
      this.#context.found({ uri, digest: { [algorithm]: commit.commit } });
      const kept = request.keepGitDir ? `.git${commit.ref === "" ? "" : `#${commit.ref}`}` : "";
      const subdir = request.subdir === "" ? "" : `:${request.subdir}`;
      const skips = request.skipSubmodules ? "(skip-submodules)" : "";
      return [sourceKey(`${commit.commit}${kept}${subdir}${skips}`)];
    } catch (error) {
      if (error instanceof BuildError && error.code === "CANCELED") throw error;
      throw new BuildError("GIT_FAILED", `failed to load cache key: ${messageOf(error)}`, { cause: error });
    }
  }

  async #resolve(signal: AbortSignal): Promise<{ request: GitRequest; commit: GitCommit }> {
    const request = await this.#request();
    return { request, commit: await resolveGit(request, signal) };
  }

  async #request(): Promise<GitRequest> {
    const at = this.#id.indexOf("#");
    const [ref, subdir] = (at < 0 ? "" : this.#id.slice(at + 1)).split(/:(.*)/s);
    const socket = this.#attrs["git.mountsshsock"];
    const url = this.#attrs["git.fullurl"] ?? (at < 0 ? this.#id : this.#id.slice(0, at));
    const remote = TRANSPORT.test(url) ? url : `https://${url}`;
    return {
      remote,
      ref: ref ?? "",
      subdir: subdir ?? "",
      checksum: this.#attrs["git.checksum"] ?? "",
      keepGitDir: this.#attrs["git.keepgitdir"] === "true",
      skipSubmodules: this.#attrs["git.skipsubmodules"] === "true",
      authorization: await this.#authorization(remote),
      knownHosts: this.#attrs["git.knownsshhosts"] ?? "",
      agentSocket: socket === undefined ? undefined : await this.#context.session.agentSocket(socket),
    };
  }

  /** From the secrets that the client may have: a whole header, or a token; those for the host first. */
  async #authorization(remote: string): Promise<string | undefined> {
    const host = URL.canParse(remote) ? new URL(remote).host : "";
    const secret = async (attr: string, suffix: string): Promise<string | undefined> => {
      const id = this.#attrs[attr];
      const data = id === undefined ? undefined : await this.#context.session.secret(`${id}${suffix}`);
      return data && Buffer.from(data).toString().trim();
    };
    for (const suffix of [`.${host}`, ""]) {
      const header = await secret("git.authheadersecret", suffix);
      if (header !== undefined) return header;
      const token = await secret("git.authtokensecret", suffix);
      if (token !== undefined) return `basic ${Buffer.from(`x-access-token:${token}`).toString("base64")}`;
    }
    return undefined;
  }

  async run(_inputs: readonly RefResult[], signal: AbortSignal): Promise<readonly RefResult[]> {
    this.#result ??= this.#checkOut(signal);
    return [await this.#result];
  }

  async #checkOut(signal: AbortSignal): Promise<RefResult> {
    const { refs } = this.#context;
    const { request, commit } = await this.#resolved!;
    const { upper } = refs.newFolders();
    const target = join(this.#stateRoot, upper);
    try {
      await checkoutGit(request, commit, target, join(target, ".."), signal);
      const ref = request.ref || commit.ref.replace(/^refs\/heads\//, "");
      const description = `git snapshot for ${redacted(request.remote)}#${ref}`;
      return { ref: await refs.commit(upper, undefined, description, "source.git.checkout") };
    } catch (error) {
      await refs.discard(upper);
      throw error;
    }
  }
}
