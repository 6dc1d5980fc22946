// Cache keys and results to a manifest: every key that the build's result stands on, equal keys made one, results with
// their layers. What is exported and how equal keys are found follows BuildKit's cache chains.
import { compareBytes, type Digest } from "../lib/index.js";
import type { LayerDescriptor } from "../snapshot/index.js";
import type { KeyNode } from "../solver/index.js";
import type { CacheLayer, CacheManifest } from "./types.js";

export interface ResultLayer {
  readonly descriptor: LayerDescriptor;
  /** milliseconds since 1970 */
  readonly createdAt: number;
}

export interface ExportInput {
  /** keys of what the build was asked for */
  readonly targets: readonly KeyNode[];
  /** whether a key's result is part of the export */
  readonly includes: (node: KeyNode) => boolean;
  /** the layers of a result, lowest first */
  readonly layersOf: (node: KeyNode) => Promise<readonly ResultLayer[]>;
}

interface Item {
  readonly digest: Digest;
  readonly inputs: { readonly parent: Item; readonly selector: Digest | undefined }[][];
  result: { readonly layers: readonly ResultLayer[]; readonly createdAt: number } | undefined;
}

export async function buildManifest({ targets, includes, layersOf }: ExportInput): Promise<CacheManifest> {
  const builder = new ManifestBuilder();
  const wanted = new Set<KeyNode>();
  const items = builder.collect(targets, includes, wanted);
  await Promise.all(
    [...wanted].map(async (node) => {
      const item = items.get(node)!;
      const layers = await layersOf(node);
      if (layers.length > 0) item.result ??= { layers, createdAt: node.result!.createdAt };
    }),
  );
  return builder.manifest();
}

class ManifestBuilder {
  readonly #items = new Map<KeyNode, Item>();
  readonly #roots = new Map<Digest, Item>();
  /** items with inputs by digest, to find equal ones */
  readonly #byDigest = new Map<Digest, Item[]>();

  /** Makes the items of all nodes below the targets; nodes that cannot be shared have none. */
  collect(
    targets: readonly KeyNode[],
    hasResult: (node: KeyNode) => boolean,
    wanted: Set<KeyNode>,
  ): Map<KeyNode, Item> {
    const order = parentsFirst(targets);
    // Alternatives may go round in circles; there a key comes before one of its parents, and has to wait for another.
    for (let waiting = order; waiting.length > 0;) {
      const left = waiting.filter((node) => !this.#tryMake(node));
      if (left.length === waiting.length) break;
      waiting = left;
    }
    for (const [node, item] of this.#items)
      if (item && node.inputs.length > 0 && node.result && hasResult(node)) wanted.add(node);
    return this.#items;
  }

  #tryMake(node: KeyNode): boolean {
    const item = this.#make(node);
    if (item) this.#items.set(node, item);
    return item !== undefined;
  }

  #make(node: KeyNode): Item | undefined {
    if (node.isRandom) return undefined;
    if (node.inputs.length === 0) {
      let root = this.#roots.get(node.digest);
      if (!root)
        this.#roots.set(node.digest, (root = { digest: node.digest, inputs: [], result: undefined }));
      return root;
    }
    const inputs = node.inputs.map((links) =>
      links.flatMap(({ parent, selector }) => {
        const item = this.#items.get(parent);
        return item ? [{ parent: item, selector }] : [];
      }),
    );
    if (inputs.some((links) => links.length === 0)) return undefined;
    const same = (this.#byDigest.get(node.digest) ?? []).find((other) =>
      inputs.every((links, i) => links.some((link) => hasLink(other.inputs[i]!, link))),
    );
    if (same) {
      inputs.forEach((links, i) => {
        for (const link of links)
          if (!hasLink(same.inputs[i]!, link) && !dependsOn(link.parent, same)) same.inputs[i]!.push(link);
      });
      return same;
    }
    const unique = inputs.map((links) => links.filter((link, i) => !hasLink(links.slice(0, i), link)));
    const item: Item = { digest: node.digest, inputs: unique, result: undefined };
    this.#byDigest.set(node.digest, [...(this.#byDigest.get(node.digest) ?? []), item]);
    return item;
  }

  manifest(): CacheManifest {
    const items = [...new Set(this.#items.values())];
    const layers = new LayerTable();
    for (const item of items) if (item.result) layers.add(item.result.layers);
    const { sorted, indexOf } = layers.finish();
    const order = [...items].sort(
      (a, b) => compareBytes(a.digest, b.digest) || a.inputs.length - b.inputs.length,
    );
    const index = new Map(order.map((item, i) => [item, i]));
    return {
      layers: sorted,
      records: order.map((item) => ({
        digest: item.digest,
        inputs: item.inputs.map((links) =>
          links
            .map(({ parent, selector }) => ({ link: index.get(parent)!, selector }))
            .sort((a, b) => a.link - b.link || compareBytes(a.selector ?? "", b.selector ?? "")),
        ),
        results: item.result
          ? [{ layer: indexOf(item.result.layers), createdAt: item.result.createdAt }]
          : [],
      })),
    };
  }
}

/** All keys below the targets, each after those it stands on, as far as they don't go round in circles. */
function parentsFirst(targets: readonly KeyNode[]): KeyNode[] {
  const order: KeyNode[] = [];
  const seen = new Set<KeyNode>(targets);
  const stack = [...seen].map((node) => ({ node, pending: node.parents })).reverse();
  for (let top = stack.at(-1); top; top = stack.at(-1)) {
    const next = top.pending.pop();
    if (!next) order.push(stack.pop()!.node);
    else if (!seen.has(next)) {
      seen.add(next);
      stack.push({ node: next, pending: next.parents });
    }
  }
  return order;
}

function dependsOn(item: Item, other: Item): boolean {
  const seen = new Set<Item>([item]);
  for (const one of seen) {
    if (one === other) return true;
    for (const links of one.inputs) for (const { parent } of links) seen.add(parent);
  }
  return false;
}

function hasLink(links: Item["inputs"][number], link: Item["inputs"][number][number]): boolean {
  return links.some((other) => other.parent === link.parent && other.selector === link.selector);
}

/** Layers of all results, each chain's beginning shared. */
class LayerTable {
  readonly #entries = new Map<string, { layer: ResultLayer; parent: string | undefined; depth: number }>();

  add(layers: readonly ResultLayer[]): void {
    let parent: string | undefined;
    layers.forEach((layer, depth) => {
      const key: string =
        parent === undefined ? layer.descriptor.digest : `${parent} ${layer.descriptor.digest}`;
      if (!this.#entries.has(key)) this.#entries.set(key, { layer, parent, depth });
      parent = key;
    });
  }

  finish(): { sorted: CacheLayer[]; indexOf: (layers: readonly ResultLayer[]) => number } {
    const keys = [...this.#entries.keys()].sort((a, b) => {
      const [x, y] = [this.#entries.get(a)!, this.#entries.get(b)!];
      return (
        compareBytes(x.layer.descriptor.digest, y.layer.descriptor.digest) ||
        x.depth - y.depth ||
        compareBytes(a, b)
      );
    });
    const index = new Map(keys.map((key, i) => [key, i]));
    const sorted = keys.map((key): CacheLayer => {
      const { layer, parent } = this.#entries.get(key)!;
      return {
        parent: parent === undefined ? -1 : index.get(parent)!,
        descriptor: layer.descriptor,
        createdAt: layer.createdAt,
      };
    });
    return {
      sorted,
      indexOf: (layers) => index.get(layers.map((layer) => layer.descriptor.digest).join(" "))!,
    };
  }
}
