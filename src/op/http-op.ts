// A file from a URL as a source.
import { chmod, chown, copyFile, utimes } from "node:fs/promises";
import { join } from "node:path";
import { BuildError, hexOf, messageOf } from "../lib/index.js";
import type { CacheMap, Op } from "../solver/index.js";
import { fetchHttp, httpKey, intOf, type HttpFile } from "../source/index.js";
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
    this.#file ??= fetchHttp(this.#url, this.#attrs, this.#context.blobs, signal, this.#upload(signal));
    try {
      const file = await this.#file;
      this.#context.found({ uri: this.#url, digest: { sha256: hexOf(file.checksum) } });
      return [sourceKey(httpKey(file, this.#attrs))];
    } catch (error) {
      if (error instanceof BuildError && error.code === "CHECKSUM_MISMATCH") throw error;
      throw new BuildError("HTTP_FAILED", `failed to load cache key: ${messageOf(error)}`, { cause: error });
    }
  }

  /** Clients serve what comes from their standard input under a name that is nobody's. */
  #upload(signal: AbortSignal): AsyncIterable<Uint8Array> | undefined {
    const { host, pathname } = new URL(this.#url);
    return host === "buildkit-session" ? this.#context.session.upload?.(pathname, signal) : undefined;
  }

  async run(): Promise<readonly RefResult[]> {
    const { refs } = this.#context;
    const { file, filename, lastModified } = await this.#file!;
    const { upper } = refs.newFolders();
    const target = join(this.#stateRoot, upper, filename);
    await copyFile(file, target);
    await chmod(target, intOf(this.#attrs["http.perm"]) || 0o600);
    const [uid, gid] = [intOf(this.#attrs["http.uid"]), intOf(this.#attrs["http.gid"])];
    if (uid !== 0 || gid !== 0) await chown(target, uid, gid);
    const time = lastModified === undefined ? 0 : Date.parse(lastModified) / 1000;
    await utimes(target, time, time);
    return [{ ref: await refs.commit(upper, undefined, `http url ${this.#url}`) }];
  }
}
