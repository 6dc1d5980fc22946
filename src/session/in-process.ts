// The session of a build in this process: folders and secrets are right here.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { BuildError, codeOf, digestOf } from "../lib/index.js";
import type { Moved } from "../progress/index.js";
import type { Worker } from "../worker/index.js";
import type { FolderSelection, Session } from "./types.js";

export type SecretSource =
  { readonly kind: "file"; readonly path: string } | { readonly kind: "env"; readonly name: string };

export interface InProcessOptions {
  readonly worker: Worker;
  readonly folders: ReadonlyMap<string, string>;
  readonly secrets: ReadonlyMap<string, SecretSource>;
  readonly agents: ReadonlyMap<string, string>;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

export class InProcessSession implements Session {
  /** the same folders are the same client's, from one process to the next */
  readonly sharedKey: string;
  readonly #options: InProcessOptions;

  constructor(options: InProcessOptions) {
    this.#options = options;
    this.sharedKey = digestOf(JSON.stringify([...options.folders].sort()));
  }

  async takeFolder(
    name: string,
    selection: FolderSelection,
    target: string,
    moved: Moved,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { worker, folders } = this.#options;
    if (selection.metadataExcept)
      throw new BuildError("LLB_INVALID", "metadata of folders comes from clients of a daemon only");
    const folder = folders.get(name);
    if (folder === undefined) throw new BuildError("LOCAL_MISSING", `no access allowed to dir "${name}"`);
    const { bytes, isSame } = await worker.perform("local", { folder, target, ...selection }, signal);
    moved(bytes);
    return isSame;
  }

  async readFiles(name: string, paths: readonly string[]): Promise<ReadonlyMap<string, Uint8Array>> {
    const folder = this.#options.folders.get(name);
    const files = new Map<string, Uint8Array>();
    if (folder === undefined) return files;
    for (const path of paths) {
      try {
        files.set(path, await readFile(join(folder, path)));
      } catch (error) {
        if (codeOf(error) !== "ENOENT") throw error;
      }
    }
    return files;
  }

  async secret(id: string): Promise<Uint8Array | undefined> {
    const source = this.#options.secrets.get(id);
    return source && readSecret(source, this.#options.environment);
  }

  async agentSocket(id: string): Promise<string | undefined> {
    return this.#options.agents.get(id === "" ? "default" : id);
  }
}

/** @returns `undefined` if the environment has none of this name */
export async function readSecret(
  source: SecretSource,
  environment: Readonly<Record<string, string | undefined>>,
): Promise<Uint8Array | undefined> {
  if (source.kind === "file") return readFile(source.path);
  const value = environment[source.name];
  return value === undefined ? undefined : Buffer.from(value);
}
