// Where layers are kept in the state folder.
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";

/** Short, because the options of an overlay mount name every layer. Relative to the state folder. */
export function layerPath(id: number): string {
  return `s/${id}`;
}

/** Digests of a layer's files, if they are kept; relative to the state folder. */
export function keptDigestsPath(id: number): string {
  return `digests/${id}`;
}

/** What a client's folder was told to be; relative to the state folder. */
export function listingPath(id: number): string {
  return `listings/${id}`;
}

/** All that is kept of layers, each under the name of its id. */
export function layerFiles(stateRoot: string): string[] {
  const folders = ["s", "digests", "listings"].map((name) => join(stateRoot, name));
  return folders
    .filter((folder) => existsSync(folder))
    .flatMap((folder) => readdirSync(folder).map((name) => join(folder, name)));
}
