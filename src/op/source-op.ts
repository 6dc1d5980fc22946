// Source ops: images, folders of the client, files from URLs.
import { randomUUID } from "node:crypto";
import { copyFile, chmod, utimes } from "node:fs/promises";
import { join } from "node:path";
import { BuildError, digestOf, messageOf, type Digest } from "../lib/index.js";
import type { Platform, SourceOp as SourceBody } from "../llb/index.js";
import type { Ref } from "../snapshot/index.js";
import type { CacheMap, Op } from "../solver/index.js";
import { fetchHttp, httpKey, ImageSource, type HttpFile } from "../source/index.js";
import type { OpContext, RefResult } from "./context.js";

const LOCAL_REFS = new WeakSet<Ref>();

/** Made from a client's folder: its root has no attributes of its own. */
export function isLocalResult(result: RefResult): boolean {
  return result.ref !== undefined && LOCAL_REFS.has(result.ref);
}

export function sourceOp(
  body: SourceBody,
  platform: Platform,
  context: OpContext,
  stateRoot: string,
): Op<RefResult> {
  const { identifier, attrs } = body;
  if (identifier.startsWith("docker-image://"))
    return new ImageOp(identifier.slice("docker-image://".length), platform, context);
  if (identifier.startsWith("local://"))
    return new LocalOp(identifier.slice("local://".length), attrs, context);
  if (/^https?:\/\//.test(identifier)) return new HttpOp(identifier, attrs, context, stateRoot);
  throw new BuildError("SOURCE_UNSUPPORTED", `source ${identifier} is not supported`);
}

function sourceKey(digest: Digest): CacheMap<RefResult> {
  return { digest: digestOf(`buildkit.source.v0:${digest}`), inputs: [] };
}

class ImageOp implements Op<RefResult> {
  readonly #reference: string;
  readonly #platform: Platform;
  readonly #context: OpContext;

  constructor(reference: string, platform: Platform, context: OpContext) {
    this.#reference = reference;
    this.#platform = platform;
    this.#context = context;
  }

  async cacheMaps(signal: AbortSignal): Promise<readonly CacheMap<RefResult>[]> {
    const source = await this.#context.images.resolve(this.#reference, this.#platform, signal);
    return ImageSource.keys(source, this.#platform).map(sourceKey);
  }

  async run(_inputs: readonly RefResult[], signal: AbortSignal): Promise<readonly RefResult[]> {
    const source = await this.#context.images.resolve(this.#reference, this.#platform, signal);
    return [{ ref: this.#context.images.ref(source) }];
  }
}

class LocalOp implements Op<RefResult> {
  readonly #name: string;
  readonly #attrs: Readonly<Record<string, string>>;
  readonly #context: OpContext;

  constructor(name: string, attrs: Readonly<Record<string, string>>, context: OpContext) {
    this.#name = name;
    this.#attrs = attrs;
    this.#context = context;
  }

  async cacheMaps(): Promise<readonly CacheMap<RefResult>[]> {
    return [{ digest: `random:${randomUUID()}`, inputs: [] }];
  }

  async run(_inputs: readonly RefResult[], signal: AbortSignal): Promise<readonly RefResult[]> {
    const { refs, worker, session } = this.#context;
    const folder = session.folder(this.#name);
    if (folder === undefined)
      throw new BuildError("LOCAL_MISSING", `no access allowed to dir "${this.#name}"`);
    const list = (name: string): string[] => JSON.parse(this.#attrs[name] ?? "[]") as string[];
    const { upper } = refs.newFolders();
    try {
      await worker.perform(
        "local",
        {
          folder,
          target: upper,
          followPaths: list("local.followpaths"),
          includePatterns: list("local.includepattern"),
          excludePatterns: list("local.excludepatterns"),
        },
        signal,
      );
    } catch (error) {
      await refs.discard(upper);
      throw error;
    }
    const ref = await refs.commit(upper, undefined, `local source for ${this.#name}`);
    LOCAL_REFS.add(ref);
    return [{ ref }];
  }
}

class HttpOp implements Op<RefResult> {
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
    this.#file ??= fetchHttp(this.#url, this.#attrs, this.#context.blobs, signal);
    try {
      return [sourceKey(httpKey(await this.#file, this.#attrs))];
    } catch (error) {
      if (error instanceof BuildError && error.code === "CHECKSUM_MISMATCH") throw error;
      throw new BuildError("HTTP_FAILED", `failed to load cache key: ${messageOf(error)}`, { cause: error });
    }
  }

  async run(): Promise<readonly RefResult[]> {
    const { refs } = this.#context;
    const { file, filename, lastModified } = await this.#file!;
    const { upper } = refs.newFolders();
    const target = join(this.#stateRoot, upper, filename);
    await copyFile(file, target);
    await chmod(target, 0o600);
    const time = lastModified === undefined ? 0 : Date.parse(lastModified) / 1000;
    await utimes(target, time, time);
    return [{ ref: await refs.commit(upper, undefined, `http url ${this.#url}`) }];
  }
}
