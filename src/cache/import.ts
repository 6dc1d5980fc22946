// A manifest as a store of cache keys: lookups are answered from its indexes, results are made of its layers.
import type { Digest } from "../lib/index.js";
import type { RemoteLayer } from "../snapshot/index.js";
import type { CacheStore, RecordId, StoredRecord, StoredResult } from "../solver/index.js";
import type { CacheLayer, CacheManifestResult, StoredCache } from "./types.js";

export interface ImportOptions<R> {
  readonly cache: StoredCache;
  /** a result made of layers, lowest first; `undefined` if their blobs cannot be had */
  readonly load: (layers: readonly RemoteLayer[], signal: AbortSignal) => Promise<R | undefined>;
}

export class ImportedCache<R> implements CacheStore<R> {
  readonly name: string;
  readonly #options: ImportOptions<R>;
  readonly #roots = new Map<Digest, RecordId[]>();
  readonly #children = new Map<string, RecordId[]>();

  constructor(options: ImportOptions<R>) {
    this.name = options.cache.name;
    this.#options = options;
    options.cache.manifest.records.forEach((record, i) => {
      const id = String(i);
      if (record.inputs.length === 0) push(this.#roots, record.digest, id);
      record.inputs.forEach((links, input) => {
        for (const { link, selector } of links)
          push(this.#children, childKey(String(link), input, record.digest, selector), id);
      });
    });
  }

  roots(digest: Digest): readonly RecordId[] {
    return this.#roots.get(digest) ?? [];
  }

  children(
    parent: RecordId,
    input: number,
    digest: Digest,
    selector: Digest | undefined,
  ): readonly RecordId[] {
    return this.#children.get(childKey(parent, input, digest, selector)) ?? [];
  }

  record(id: RecordId): StoredRecord | undefined {
    const record = this.#options.cache.manifest.records[Number(id)];
    if (!record) return undefined;
    const inputs = record.inputs.map((links) =>
      links.map(({ link, selector }) => ({ parent: String(link), selector })),
    );
    return { digest: record.digest, inputs };
  }

  results(id: RecordId): readonly StoredResult<R>[] {
    const record = this.#options.cache.manifest.records[Number(id)];
    return (record?.results ?? []).map((result) => ({
      createdAt: result.createdAt ?? 0,
      load: (signal) => this.#options.load(this.#layersOf(result), signal),
    }));
  }

  #layersOf({ layer, chain }: CacheManifestResult): RemoteLayer[] {
    const { layers } = this.#options.cache.manifest;
    if (chain) return chain.map((index) => this.#remote(layers[index]!));
    const found: RemoteLayer[] = [];
    for (let at = layer; at !== -1; at = layers[at]!.parent) found.push(this.#remote(layers[at]!));
    return found.reverse();
  }

  #remote({ descriptor, createdAt, description }: CacheLayer): RemoteLayer {
    const provider = this.#options.cache.blobs;
    return {
      descriptor,
      provider,
      ...(createdAt !== undefined && { createdAt }),
      ...(description !== undefined && { description }),
    };
  }
}

function childKey(parent: RecordId, input: number, digest: Digest, selector: Digest | undefined): string {
  return `${parent}|${input}|${digest}|${selector ?? ""}`;
}

function push<K>(map: Map<K, RecordId[]>, key: K, id: RecordId): void {
  const list = map.get(key);
  if (list) list.push(id);
  else map.set(key, [id]);
}
