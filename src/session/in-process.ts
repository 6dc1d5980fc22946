// The session of a build in this process: folders and secrets are right here.
import { readFile } from "node:fs/promises";
import type { Session } from "./types.js";

export type SecretSource =
  { readonly kind: "file"; readonly path: string } | { readonly kind: "env"; readonly name: string };

export interface InProcessOptions {
  readonly folders: ReadonlyMap<string, string>;
  readonly secrets: ReadonlyMap<string, SecretSource>;
  readonly agents: ReadonlyMap<string, string>;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

export class InProcessSession implements Session {
  readonly #options: InProcessOptions;

  constructor(options: InProcessOptions) {
    this.#options = options;
  }

  folder(name: string): string | undefined {
    return this.#options.folders.get(name);
  }

  async secret(id: string): Promise<Uint8Array | undefined> {
    const source = this.#options.secrets.get(id);
    if (!source) return undefined;
    if (source.kind === "file") return readFile(source.path);
    const value = this.#options.environment[source.name];
    return value === undefined ? undefined : Buffer.from(value);
  }

  agentSocket(id: string): string | undefined {
    return this.#options.agents.get(id === "" ? "default" : id);
  }
}
