// Two manifests as one: what either finds, the result finds. For exports that meet: both were made from what was there
// when their builds began, and neither may lose what the other wrote.
import { KeyNode } from "../solver/index.js";
import { buildManifest, type ResultLayer } from "./export.js";
import type { CacheManifest } from "./types.js";

/** Where both have a result for a key, `ours` counts. */
export async function mergeManifests(ours: CacheManifest, theirs: CacheManifest): Promise<CacheManifest> {
  const targets = [...keysOf(ours), ...keysOf(theirs)];
  return buildManifest({
    targets,
    includes: () => true,
    layersOf: async (node) => node.result!.value as readonly ResultLayer[],
  });
}

function keysOf({ records, layers }: CacheManifest): KeyNode[] {
  const nodes = records.map(
    ({ digest, inputs }) =>
      new KeyNode(
        digest,
        inputs.map(() => []),
        false,
      ),
  );
  records.forEach(({ inputs, results }, i) => {
    const node = nodes[i]!;
    inputs.forEach((links, input) => {
      for (const { link, selector } of links) node.addLink(input, { parent: nodes[link]!, selector });
    });
    const [result] = results;
    if (!result) return;
    const chain: ResultLayer[] = [];
    for (let at = result.layer; at !== -1; at = layers[at]!.parent)
      chain.unshift({ descriptor: layers[at]!.descriptor, createdAt: layers[at]!.createdAt ?? 0 });
    node.result = { value: chain, createdAt: result.createdAt ?? 0 };
  });
  return nodes;
}
