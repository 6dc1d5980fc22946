// The caches to import, as stores of the solver.
import { AzblobBackend, decodeManifest, ImportedCache, type RefResult } from "../cache/index.js";
import { messageOf } from "../lib/index.js";
import type { Progress } from "../progress/index.js";
import type { CacheStore } from "../solver/index.js";
import type { Engine } from "./engine.js";
import type { BuildRequest } from "./types.js";

/** In the order given; one that cannot be read is a warning. */
export async function importCaches(
  engine: Engine,
  { cacheFrom, signal }: BuildRequest,
  progress: Progress,
): Promise<readonly CacheStore<RefResult>[]> {
  const stores = await Promise.all(
    cacheFrom.map(async ({ config }) => {
      const backend = new AzblobBackend(config);
      const title = `importing cache manifest from azblob:${config.names.join(";")}`;
      try {
        return await progress.step(title, async () => {
          const manifests = await backend.readManifests(signal);
          return manifests.map(({ name, data }) => importedCache(engine, `azblob:${name}`, backend, data));
        });
      } catch (error) {
        if (signal.aborted) throw error;
        progress.emit({
          kind: "warning",
          vertex: "",
          text: `cache ${config.names.join(";")} is not used: ${messageOf(error)}`,
        });
        return [];
      }
    }),
  );
  return stores.flat();
}

function importedCache(
  { refs }: Engine,
  name: string,
  backend: AzblobBackend,
  data: Buffer,
): CacheStore<RefResult> {
  return new ImportedCache<RefResult>({
    name,
    manifest: decodeManifest(data),
    provider: backend.blobs,
    load: async (layers, signal) => {
      // a layer that was removed makes a miss, not a failure when its bytes are needed
      const known = await Promise.all(
        layers.map(({ descriptor }) => backend.hasBlob(descriptor.digest, signal)),
      );
      if (!known.every(Boolean)) return undefined;
      const ref = refs.fromRemote(layers, `imported from ${name}`);
      return ref && refs.isAvailable(ref) ? { ref } : undefined;
    },
  });
}
