// Downloads all layers of a cache into an empty store, as a build does that needs them, and prints the seconds.
//   node bench/fetch.mjs CACHE-FROM FOLDER
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { CachePlaces, cacheImport } from "../dist/cache/index.js";
import { BlobStore } from "../dist/content/index.js";

const [spec, folder] = process.argv.slice(2);
mkdirSync(join(folder, "tmp"), { recursive: true });
const attributes = new Map(spec.split(",").map((field) => field.split(/=(.*)/s).slice(0, 2)));
const { signal } = new AbortController();
const start = performance.now();
const store = new BlobStore(folder, join(folder, "tmp"));
const source = new CachePlaces(undefined).open(cacheImport(attributes, {}).place);
const [cache] = await source.read(signal);
const layers = cache.manifest.layers.map(({ descriptor }) => descriptor);
await Promise.all(layers.map((layer) => store.fetch(layer, cache.blobs, signal)));
console.log((performance.now() - start) / 1000);
process.exit(0);
