// Which blobs of a remote cache turned out to be wrong, kept across builds: the next export replaces them.
import type { Database } from "../content/index.js";
import { digestOf, hexOf, type Digest } from "../lib/index.js";
import type { CorruptBlobs } from "./types.js";

/** @returns what is known of a place, which a URL names */
export function rememberCorrupt(database: Database): (place: string) => CorruptBlobs {
  const table = database.table<true>("corrupt");
  return (place) => {
    const key = (digest: Digest): string => `${hexOf(digestOf(place))} ${digest}`;
    return {
      has: (digest) => table.get(key(digest)) === true,
      add: (digest) => table.putSync(key(digest), true),
      delete: (digest) => {
        if (table.get(key(digest))) table.removeSync(key(digest));
      },
    };
  };
}
