// The embedded engine: a state folder, its threads and stores, and builds on them.
import { randomUUID } from "node:crypto";
import { readdirSync } from "node:fs";
import { rm } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { LocalCacheStore, rememberCorrupt, type CorruptBlobs } from "../cache/index.js";
import { BlobStore, Database, FileLocks, StateDir, type Table } from "../content/index.js";
import { Limiter, messageOf } from "../lib/index.js";
import { killLeftovers, type DnsSettings } from "../executor/index.js";
import { workerPlatforms, type Call, type Description } from "../frontend/index.js";
import { DockerCredentials, RegistryClient } from "../registry/index.js";
import { checkStore, PruneStore, type CheckReport, type GcLimits, type PruneParts } from "../prune/index.js";
import type { PruneOptions, UsageRecord } from "../prune/index.js";
import { CacheMounts, LocalSources, RefStore } from "../snapshot/index.js";
import { HttpSource } from "../source/index.js";
import { Worker } from "../worker/index.js";
import { Build } from "./build.js";
import type { Builder, BuilderInfo, BuildRequest, BuildResponse } from "./types.js";

export interface EngineOptions {
  readonly stateDir: string;
  /** OCI runtime to use instead of the first that works */
  readonly runtime?: string | undefined;
  /** where device specs of RUN --device lie, instead of the usual folders */
  readonly cdiFolders?: readonly string[] | undefined;
  /** what steps resolve names with, where it is not the host's */
  readonly dns?: DnsSettings | undefined;
  /** steps that run at once, of all builds; `undefined`: as many as there are */
  readonly maxParallelism?: number | undefined;
  /** limits of garbage collection where they are not the usual ones; `undefined`: nothing is collected */
  readonly gc?: Partial<GcLimits> | undefined;
  /** where docker's config.json is */
  readonly dockerConfig?: string | undefined;
}

/** milliseconds */
const GC_INTERVAL = 600_000;
/** Threads for work on files: each takes some 40 MiB while it unpacks. */
const FILE_THREADS = 2;

export class Engine implements Builder {
  readonly state: StateDir;
  readonly blobs: BlobStore;
  readonly refs: RefStore;
  readonly worker: Worker;
  readonly registry: RegistryClient;
  readonly localCache: LocalCacheStore;
  readonly cacheMounts: CacheMounts;
  readonly http: HttpSource;
  /** see ImageSource */
  readonly imageOrigins: Table<true>;
  readonly localSources: LocalSources;
  readonly pruning: PruneStore;
  /** steps that run now, in any process */
  readonly locks: FileLocks;
  readonly runtime: string | undefined;
  readonly cdiFolders: readonly string[] | undefined;
  readonly dns: DnsSettings | undefined;
  /** see `maxParallelism` */
  readonly steps: Limiter | undefined;
  /** what is remembered of remote caches, by place */
  readonly corruptBlobs: (place: string) => CorruptBlobs;
  readonly #database: Database;
  readonly #gc: Partial<GcLimits> | undefined;

  /** @throws BuildError STATE_DIR_UNWRITABLE */
  constructor(options: EngineOptions) {
    const { stateDir, runtime, cdiFolders, dns, maxParallelism, dockerConfig, gc = {} } = options;
    this.state = new StateDir(stateDir);
    this.#database = new Database(stateDir);
    this.blobs = new BlobStore(join(stateDir, "content"), this.state.own);
    this.worker = new Worker({ stateRoot: stateDir, own: this.state.own, fileThreads: FILE_THREADS });
    this.refs = new RefStore({
      state: this.state,
      database: this.#database,
      blobs: this.blobs,
      worker: this.worker,
    });
    this.localCache = new LocalCacheStore(this.#database, this.refs);
    this.localSources = new LocalSources(this.refs, this.#database.table("folders"));
    this.imageOrigins = this.#database.table("images");
    this.http = new HttpSource(this.blobs, this.#database.table("http"));
    this.corruptBlobs = rememberCorrupt(this.#database);
    this.registry = new RegistryClient(new DockerCredentials(dockerConfig));
    this.runtime = runtime;
    this.cdiFolders = cdiFolders;
    this.dns = dns;
    this.steps = maxParallelism === undefined ? undefined : new Limiter(maxParallelism);
    this.cacheMounts = new CacheMounts(this.state);
    this.locks = new FileLocks(join(stateDir, "locks"));
    this.pruning = new PruneStore(this.#parts);
    this.#gc = gc;
  }

  get #parts(): PruneParts {
    return {
      state: this.state,
      database: this.#database,
      blobs: this.blobs,
      refs: this.refs,
      records: this.localCache,
      mounts: this.cacheMounts,
      worker: this.worker,
    };
  }

  async build(request: BuildRequest): Promise<BuildResponse> {
    return new Build(this, request, request.sessionId ?? randomUUID()).run();
  }

  /** A build begins: what it uses stays. @returns what ends it */
  begin(): () => void {
    void this.#removeLeftovers();
    this.worker.prepare();
    return this.refs.activity.begin();
  }

  /** What the state folder holds, largest first. @throws BuildError FILTER_INVALID */
  diskUsage(filters: readonly string[], signal: AbortSignal): Promise<readonly UsageRecord[]> {
    return this.pruning.diskUsage(filters, signal);
  }

  /** Removes what nobody uses. @param removed is told of each. @throws BuildError FILTER_INVALID */
  async prune(
    options: PruneOptions,
    removed: (record: UsageRecord) => void,
    signal: AbortSignal,
  ): Promise<void> {
    await this.#removeLeftovers();
    await this.pruning.prune(options, removed, signal);
  }

  /** Whether the state folder is sound. @param contents also compare all blobs with their digests */
  check(contents: boolean): Promise<CheckReport> {
    return checkStore(this.#parts, { contents });
  }

  /** Why no container can be run here; `undefined` if one can. */
  async runtimeProblem(): Promise<string | undefined> {
    try {
      const runtime = { command: this.runtime, cgroups: false };
      await this.worker.perform("probe", { runtime }, new AbortController().signal);
      return undefined;
    } catch (error) {
      return messageOf(error);
    }
  }

  /** Keeps the state folder within its limits; looks at most once in ten minutes, whoever asks. */
  async collectGarbage(signal: AbortSignal): Promise<void> {
    if (this.#gc === undefined || !this.#isGcDue()) return;
    await this.pruning.collectGarbage(this.#gc, signal);
  }

  #isGcDue(): boolean {
    const counters = this.#database.table<number>("counters");
    return this.#database.transaction(() => {
      // a new state folder has nothing to collect
      const last = counters.get("gc");
      const isDue = last !== undefined && Date.now() - last > GC_INTERVAL;
      if (isDue || last === undefined) void counters.put("gc", Date.now());
      return isDue;
    });
  }

  async describe(request: BuildRequest, call: Call): Promise<Description> {
    return new Build(this, request, request.sessionId ?? randomUUID()).describe(call);
  }

  async info(): Promise<BuilderInfo> {
    return { version: "", workers: [{ id: hostname(), labels: {}, platforms: workerPlatforms() }] };
  }

  async close(): Promise<void> {
    await this.pruning.settled();
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
