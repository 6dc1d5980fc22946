// The caches to import, as stores of the solver.
import {
  ImportedCache,
  timeoutOf,
  type CacheImport,
  type CachePlaces,
  type RefResult,
  type StoredCache,
} from "../cache/index.js";
import { messageOf, within } from "../lib/index.js";
import type { Progress } from "../progress/index.js";
import type { CacheStore } from "../solver/index.js";
import type { Engine } from "./engine.js";

/** In the order given; one that cannot be read is a warning. */
export async function importCaches(
  engine: Engine,
  imports: readonly CacheImport[],
  places: CachePlaces,
  progress: Progress,
  signal: AbortSignal,
): Promise<readonly CacheStore<RefResult>[]> {
  const stores = await Promise.all(
    imports.map(async ({ place }) => {
      const source = places.open(place);
      const limited = within(signal, timeoutOf(place), `importing ${source.name}`);
      try {
        return await progress.step(`importing cache manifest from ${source.name}`, async () => {
          const caches = await source.read(limited);
          return caches.map((cache) => importedCache(engine, cache));
        });
      } catch (error) {
        if (signal.aborted) throw error;
        progress.emit({
          kind: "warning",
          vertex: "",
          text: `cache ${source.name} is not used: ${messageOf(limited.aborted ? limited.reason : error)}`,
        });
        return [];
      }
    }),
  );
  return stores.flat();
}

function importedCache({ refs }: Engine, cache: StoredCache): CacheStore<RefResult> {
  return new ImportedCache<RefResult>({
    cache,
    load: async (layers, signal) => {
      // a layer that was removed makes a miss, not a failure when its bytes are needed
      const known = await Promise.all(layers.map(({ descriptor }) => cache.hasBlob(descriptor, signal)));
      if (!known.every(Boolean)) return undefined;
      const ref = refs.fromRemote(layers, `imported from ${cache.name}`);
      return ref && refs.isAvailable(ref) ? { ref } : undefined;
    },
  });
}
