// Which layers may go: never one that a build works with, nor one that another layer stands on.
import type { LayerRecord, LayerUse } from "../snapshot/index.js";

export interface UsedLayer {
  readonly id: number;
  readonly record: LayerRecord;
  readonly use: LayerUse;
}

/** The layers that this one needs. */
export function below({ record }: UsedLayer): number[] {
  return [record.parent, record.origin].filter((id) => id !== undefined);
}

export interface Uses {
  /** time when the oldest build that still runs began; see `Activity` */
  readonly oldest: number;
  /** layers that cache mounts begin with */
  readonly bases: ReadonlySet<number>;
}

/** Layers that builds may work with or cache mounts begin with, and all that these need. */
export function usedLayers(layers: readonly UsedLayer[], { oldest, bases }: Uses): ReadonlySet<number> {
  const byId = new Map(layers.map((layer) => [layer.id, layer]));
  const used = new Set<number>();
  const open = layers.filter(({ id, use }) => use.stamp >= oldest || bases.has(id)).map(({ id }) => id);
  for (let id = open.pop(); id !== undefined; id = open.pop()) {
    const layer = byId.get(id);
    if (!layer || used.has(id)) continue;
    used.add(id);
    open.push(...below(layer));
  }
  return used;
}

/**
 * The layers to remove, those first that were not used for the longest time.
 * @param takes is asked of each layer that may go, once
 */
export function chooseLayers(
  layers: readonly UsedLayer[],
  uses: Uses,
  takes: (layer: UsedLayer) => boolean,
): ReadonlySet<number> {
  const byId = new Map(layers.map((layer) => [layer.id, layer]));
  const dependents = new Map<number, number>();
  for (const layer of layers)
    for (const id of below(layer)) dependents.set(id, (dependents.get(id) ?? 0) + 1);
  const used = usedLayers(layers, uses);
  const isFree = ({ id }: UsedLayer): boolean => !used.has(id) && (dependents.get(id) ?? 0) === 0;
  // the next to go is the last
  const queue = layers.filter(isFree).sort(byUse).reverse();
  const chosen = new Set<number>();
  for (let layer = queue.pop(); layer; layer = queue.pop()) {
    if (!takes(layer)) continue;
    chosen.add(layer.id);
    for (const id of below(layer)) {
      dependents.set(id, dependents.get(id)! - 1);
      const freed = byId.get(id);
      if (freed && isFree(freed)) insert(queue, freed);
    }
  }
  return chosen;
}

function byUse(a: UsedLayer, b: UsedLayer): number {
  return a.use.usedAt - b.use.usedAt || b.id - a.id;
}

/** Into a queue whose next is its last. */
function insert(queue: UsedLayer[], layer: UsedLayer): void {
  let [low, high] = [0, queue.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (byUse(queue[middle]!, layer) > 0) low = middle + 1;
    else high = middle;
  }
  queue.splice(low, 0, layer);
}
