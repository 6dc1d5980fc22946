// A folder of the client as a source: never found by its key, only what is read of it by content.
import { randomUUID } from "node:crypto";
import { transfer } from "../progress/index.js";
import { BuildError, digestOf } from "../lib/index.js";
import type { Session } from "../session/index.js";
import { layerPath, listingPath, type Ref } from "../snapshot/index.js";
import type { CacheMap, Op } from "../solver/index.js";
import type { OpContext, RefResult } from "./context.js";

const LOCAL_REFS = new WeakSet<Ref>();

/** Made from a client's folder: its root has no attributes of its own. */
export function isLocalResult(result: RefResult): boolean {
  return result.ref !== undefined && LOCAL_REFS.has(result.ref);
}

/** The session that lends a folder. */
export async function sessionOf(
  { session }: Pick<OpContext, "session">,
  attrs: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<Session> {
  return (await session.named?.(attrs["local.session"] ?? "", signal)) ?? session;
}

export class LocalOp implements Op<RefResult> {
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
    const { refs, lastSent, sent } = this.#context;
    const session = await sessionOf(this.#context, this.#attrs, signal);
    const list = (name: string): string[] => JSON.parse(this.#attrs[name] ?? "[]") as string[];
    const selection = {
      followPaths: list("local.followpaths"),
      includePatterns: list("local.includepattern"),
      excludePatterns: list("local.excludepatterns"),
      metadataExcept: this.#isMetadataOnly() ? list("local.metadatatransferexclude") : undefined,
    };
    const key = this.#key(session);
    const isCompared = this.#attrs["local.differ"] !== "none";
    const previous = isCompared ? lastSent(key) : undefined;
    const take = async (before: Ref | undefined): Promise<Ref> => {
      const { upper, listing } = refs.newFolders();
      try {
        const wanted = {
          ...selection,
          listing,
          previous: before && {
            folder: layerPath(before.id),
            listing: listingPath(before.id),
            takenAt: before.createdAt,
          },
        };
        const isSame = await transfer(`transferring ${this.#name}:`, 0, (moved) =>
          session.takeFolder(this.#name, wanted, upper, moved, signal),
        );
        if (!isSame) {
          const ref = await refs.commit(upper, undefined, `local source for ${this.#name}`, "source.local");
          if (before) await refs.shareDigests(before, ref);
          return ref;
        }
      } catch (error) {
        await refs.discard(upper);
        throw error;
      }
      await refs.discard(upper);
      // unless somebody has removed it just now
      return before && (await refs.table.use(before)) ? before : take(undefined);
    };
    const ref = await take(previous);
    LOCAL_REFS.add(ref);
    sent(key, ref);
    return [{ ref }];
  }

  /** @throws BuildError LOCAL_INVALID */
  #isMetadataOnly(): boolean {
    const name = "local.metadatatransfer";
    const text = this.#attrs[name] ?? "false";
    if (/^(1|t|T|true|TRUE|True)$/.test(text)) return true;
    if (/^(0|f|F|false|FALSE|False)$/.test(text)) return false;
    const quoted = JSON.stringify(text);
    throw new BuildError(
      "LOCAL_INVALID",
      `failed to load cache key: invalid value for ${name} ${quoted}: strconv.ParseBool: parsing ${quoted}: invalid syntax`,
    );
  }

  /** Which folder of which client it is; as in BuildKit clients that do not say who they are count as one. */
  #key({ sharedKey = "" }: Session): string {
    const hint = this.#attrs["local.sharedkeyhint"] ?? "";
    const isMetadata = this.#isMetadataOnly();
    return digestOf(JSON.stringify([sharedKey, this.#name, hint, ...(isMetadata ? ["metadata"] : [])]));
  }
}
