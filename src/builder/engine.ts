// The embedded engine: a state folder, its threads and stores, and builds on them.
import { randomUUID } from "node:crypto";
import { setMaxListeners } from "node:events";
import { mkdirSync, readdirSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { LocalCacheStore } from "../cache/index.js";
import { BlobStore, Database, StateDir } from "../content/index.js";
import { killLeftovers } from "../executor/index.js";
import type { Call, Description } from "../frontend/index.js";
import { DockerCredentials, RegistryClient } from "../registry/index.js";
import { RefStore } from "../snapshot/index.js";
import { Worker } from "../worker/index.js";
import { Build } from "./build.js";
import type { Builder, BuildRequest, BuildResponse } from "./types.js";

export interface EngineOptions {
  readonly stateDir: string;
  /** OCI runtime to use instead of the first that works */
  readonly runtime?: string | undefined;
  /** where device specs of RUN --device lie, instead of the usual folders */
  readonly cdiFolders?: readonly string[] | undefined;
  /** where docker's config.json is */
  readonly dockerConfig?: string | undefined;
}

export class Engine implements Builder {
  readonly state: StateDir;
  readonly blobs: BlobStore;
  readonly refs: RefStore;
  readonly worker: Worker;
  readonly registry: RegistryClient;
  readonly localCache: LocalCacheStore;
  readonly runtime: string | undefined;
  readonly cdiFolders: readonly string[] | undefined;
  readonly #database: Database;

  /** @throws BuildError STATE_DIR_UNWRITABLE */
  constructor({ stateDir, runtime, cdiFolders, dockerConfig }: EngineOptions) {
    this.state = new StateDir(stateDir);
    this.#database = new Database(stateDir);
    this.blobs = new BlobStore(join(stateDir, "content"), this.state.own);
    this.worker = new Worker({ stateRoot: stateDir, own: this.state.own, fileThreads: 2 });
    this.refs = new RefStore({
      state: this.state,
      database: this.#database,
      blobs: this.blobs,
      worker: this.worker,
    });
    this.localCache = new LocalCacheStore(this.#database, this.refs);
    this.registry = new RegistryClient(new DockerCredentials(dockerConfig));
    this.runtime = runtime;
    this.cdiFolders = cdiFolders;
    mkdirSync(join(stateDir, "caches"), { recursive: true });
  }

  async build(request: BuildRequest): Promise<BuildResponse> {
    void this.#removeLeftovers();
    setMaxListeners(0, request.signal);
    return new Build(this, request, request.sessionId ?? randomUUID()).run();
  }

  async describe(request: BuildRequest, call: Call): Promise<Description> {
    setMaxListeners(0, request.signal);
    return new Build(this, request, request.sessionId ?? randomUUID()).describe(call);
  }

  async close(): Promise<void> {
    await this.worker.close();
    await this.#database.close();
    await this.state.close();
  }

  /** What processes left that were killed: containers that still run, work in progress. */
  async #removeLeftovers(): Promise<void> {
    for (const folder of this.state.abandoned()) {
      try {
        for (const name of readdirSync(folder)) if (name.startsWith("c-")) killLeftovers(join(folder, name));
        await rm(folder, { recursive: true, force: true });
      } catch {
        // another process removes it at the same time
      }
    }
  }
}
