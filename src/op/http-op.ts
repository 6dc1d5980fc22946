// A file from a URL as a source.
import { chmod, chown, copyFile, utimes } from "node:fs/promises";
import { join } from "node:path";
import { BuildError, hexOf, messageOf, redacted } from "../lib/index.js";
import type { CacheMap, Op } from "../solver/index.js";
import { httpKey, intOf, type HttpFile, type HttpRequest } from "../source/index.js";
import { sourceKey, type OpContext, type RefResult } from "./context.js";

export class HttpOp implements Op<RefResult> {
  readonly #url: string;
  readonly #attrs: Readonly<Record<string, string>>;
  readonly #context: OpContext;
  readonly #stateRoot: string;
  #file: Promise<HttpFile> | undefined;

  constructor(url: string, attrs: Readonly<Record<string, string>>, context: OpContext, stateRoot: string) {
    this.#url = url;
    this.#attrs = attrs;
    this.#context = context;
    this.#stateRoot = stateRoot;
  }

  async cacheMaps(signal: AbortSignal): Promise<readonly CacheMap<RefResult>[]> {
    this.#file ??= this.#resolve(signal);
    const file = await this.#file;
    this.#context.found({ uri: redacted(this.#url), digest: { sha256: hexOf(file.checksum) } });
    return [sourceKey(httpKey(file, this.#attrs))];
  }

  async #resolve(signal: AbortSignal): Promise<HttpFile> {
    try {
      return await this.#context.http.resolve(await this.#request(signal), signal);
    } catch (error) {
      throw new BuildError("HTTP_FAILED", `failed to load cache key: ${messageOf(error)}`, { cause: error });
    }
  }

  async #request(signal: AbortSignal): Promise<HttpRequest> {
    const { hostname, pathname } = new URL(this.#url);
    // clients serve what comes from their standard input under a name that is nobody's
    const upload =
      hostname === "buildkit-session" ? this.#context.session.upload?.(pathname, signal) : undefined;
    const authorization = upload ? undefined : await this.#authorization(hostname);
    return { url: this.#url, attrs: this.#attrs, authorization, upload };
  }

  /** From the secret that the source names, or those that a client may have for the host. */
  async #authorization(hostname: string): Promise<string | undefined> {
    const secret = async (id: string): Promise<string | undefined> => {
      const data = await this.#context.session.secret(id);
      return data && Buffer.from(data).toString();
    };
    const named = this.#attrs["http.authheadersecret"];
    if (named) return secret(named);
    const header = await secret(`HTTP_AUTH_HEADER_${hostname}`);
    if (header !== undefined) return header;
    const token = await secret(`HTTP_AUTH_TOKEN_${hostname}`);
    return token && `Bearer ${token}`;
  }

  async run(_inputs: readonly RefResult[], signal: AbortSignal): Promise<readonly RefResult[]> {
    const { refs, http } = this.#context;
    const resolved = await this.#file!;
    const { path, file } = await http.content(await this.#request(signal), resolved, signal);
    const { upper } = refs.newFolders();
    const target = join(this.#stateRoot, upper, file.filename);
    await copyFile(path, target);
    await chmod(target, intOf(this.#attrs["http.perm"]) || 0o600);
    const [uid, gid] = [intOf(this.#attrs["http.uid"]), intOf(this.#attrs["http.gid"])];
    if (uid !== 0 || gid !== 0) await chown(target, uid, gid);
    const { lastModified } = file;
    const time = lastModified === undefined ? 0 : Date.parse(lastModified) / 1000;
    await utimes(target, time, time);
    return [{ ref: await refs.commit(upper, undefined, `http url ${this.#url}`) }];
  }
}
