// One build: frontend, solve, outputs, cache export, in that order and side by side where nothing depends on it.
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { CachePlaces, type RefResult } from "../cache/index.js";
import { readCdiDevices } from "../executor/index.js";
import { hexOf, messageOf, type Digest } from "../lib/index.js";
import {
  buildDockerfile,
  describeDockerfile,
  hostPlatform,
  SourceError,
  type Call,
  type Description,
  type FrontendHost,
  type FrontendOutcome,
  type FrontendRequest,
} from "../frontend/index.js";
import type { Definition } from "../llb/index.js";
import { loadDefinition, type OpContext } from "../op/index.js";
import { Progress } from "../progress/index.js";
import { InProcessSession } from "../session/index.js";
import type { LayerFormat, Ref } from "../snapshot/index.js";
import { Solver, type CacheStore, type KeyNode, type Lookup, type Vertex } from "../solver/index.js";
import { ImageSource, OciLayout, resolveError } from "../source/index.js";
import type { Engine } from "./engine.js";
import { beginExports, exportCaches } from "./export-cache.js";
import { importCaches } from "./import-caches.js";
import { exportOutputs, type PlatformResult } from "./export-outputs.js";
import type { BuildRequest, BuildResponse } from "./types.js";

export class Build {
  readonly #engine: Engine;
  readonly #request: BuildRequest;
  readonly #id: string;
  readonly #progress: Progress;
  readonly #images: ImageSource;
  readonly #layouts: ReadonlyMap<string, ImageSource>;
  readonly #session: InProcessSession;
  readonly #places: CachePlaces;
  readonly #context: OpContext;
  /** which step an error came from */
  readonly #failed = new Map<unknown, Digest>();
  /** results that no later build can find */
  readonly #transient: Ref[] = [];
  #containers = 0;
  /** the step that loads the Dockerfile: what is said of it is shown there */
  #definitionStep = "";

  constructor(engine: Engine, request: BuildRequest, id: string) {
    this.#engine = engine;
    this.#request = request;
    this.#id = id;
    this.#progress = new Progress(request.onProgress);
    this.#places = new CachePlaces(engine.registry, engine.corruptBlobs);
    this.#images = new ImageSource(engine.registry, engine.blobs, engine.refs);
    this.#layouts = new Map(
      [...request.layouts].map(([name, folder]) => [
        name,
        new ImageSource(new OciLayout(folder), engine.blobs, engine.refs),
      ]),
    );
    this.#session = new InProcessSession({
      folders: request.folders,
      secrets: request.secrets,
      agents: request.agents,
      environment: process.env,
    });
    // layers are packed while later steps run
    const format = packedAs(request);
    this.#context = {
      refs: engine.refs,
      blobs: engine.blobs,
      images: this.#images,
      layouts: this.#layouts,
      worker: engine.worker,
      session: this.#session,
      cacheMounts: engine.cacheMounts,
      transient: (ref) => this.#transient.push(ref),
      entitlements: request.entitlements,
      sources: new Map(),
      devices: () => readCdiDevices(engine.cdiFolders),
      runtime: engine.runtime,
      log: (vertex, stream, data) =>
        this.#progress.emit({ kind: "log", vertex, stream, data: new Uint8Array(data), time: Date.now() }),
      made: (ref) => {
        if (format) engine.refs.pack(ref, request.signal, format).catch(() => undefined);
      },
      containerId: () => `bluekiln-${process.pid}-${randomUUID().slice(0, 8)}-${++this.#containers}`,
    };
  }

  async run(): Promise<BuildResponse> {
    try {
      return await this.#run();
    } finally {
      await this.#engine.pruning.release(this.#transient);
    }
  }

  async #run(): Promise<BuildResponse> {
    beginExports(this.#request, this.#places);
    const imports = importCaches(this.#engine, this.#request, this.#places, this.#progress);
    imports.catch(() => undefined);
    const outcome = await buildDockerfile(this.#frontendRequest(), this.#frontendHost());
    this.#warn(outcome);
    const metadata = await this.#solve(outcome, imports).catch((error: unknown) => {
      throw this.#located(error, outcome);
    });
    return {
      metadata,
      definitions: outcome.results.map((result) => result.definition),
      frontendResults: outcome.results,
      warnings: outcome.warnings,
    };
  }

  /** @throws what the frontend throws; a check tells of it instead */
  describe(call: Call): Promise<Description> {
    return describeDockerfile(call, this.#frontendRequest(), this.#frontendHost());
  }

  #frontendRequest(): FrontendRequest {
    const { frontend, contexts } = this.#request;
    return { ...frontend, contexts, sessionId: this.#id, buildPlatform: hostPlatform() };
  }

  #warn({ warnings, source }: FrontendOutcome): void {
    for (const { rule, description, url, detail, ranges } of warnings) {
      const line = ranges[0]?.start.line ?? 0;
      this.#progress.emit({
        kind: "warning",
        vertex: this.#definitionStep,
        text: `${rule}: ${detail} (line ${line})`,
        about: { detail: [description], url, source, ranges },
      });
    }
  }

  /** One solver for all platforms: what their graphs have in common is solved once. */
  async #solve(
    outcome: FrontendOutcome,
    imports: Promise<readonly CacheStore<RefResult>[]>,
  ): Promise<Record<string, unknown>> {
    const { state } = this.#engine;
    const graphs = outcome.results.map(
      ({ definition, platform }) =>
        definition && loadDefinition(definition, platform, this.#context, state.root),
    );
    const targets = graphs.flatMap((graph) => (graph ? [graph.target] : []));
    const vertices = new Map(graphs.flatMap((graph) => [...(graph?.vertices ?? [])]));
    const solver = this.#solver(vertices, imports);
    return solver.solve(targets, async (values) => {
      const solved = [...values];
      const keysOf = await Promise.all(targets.map((target) => solver.keysOf(target)));
      const keys = keysOf.flat();
      const results = outcome.results.map(({ definition, platform, config, baseConfig }) => ({
        ref: definition && solved.shift()!.ref,
        platform,
        config,
        baseConfig,
        keys: definition ? keysOf.shift()! : [],
      }));
      return this.#export({ results, multiPlatform: outcome.multiPlatform }, keys, solver);
    });
  }

  /** The cache goes out while the image is pushed; a failure of the image comes first. */
  async #export(
    results: { readonly results: readonly PlatformResult[]; readonly multiPlatform: boolean },
    keys: readonly KeyNode[],
    solver: Solver<RefResult>,
  ): Promise<Record<string, unknown>> {
    const { cacheTo } = this.#request;
    const loading = cacheTo.length > 0 ? solver.loadResults(keys) : undefined;
    if (cacheTo.some(({ place }) => place.type === "inline")) await loading;
    const output = exportOutputs(this.#engine, this.#request, results, this.#progress);
    output.catch(() => undefined);
    await loading;
    const caches = exportCaches(this.#engine, this.#request, keys, this.#places, this.#progress);
    caches.catch(() => undefined);
    const metadata = await output;
    await caches;
    const traffic = this.#places.traffic();
    return Object.keys(traffic).length > 0 ? { ...metadata, "bluekiln.cache.traffic": traffic } : metadata;
  }

  #solver(
    vertices: ReadonlyMap<Digest, Vertex<RefResult>>,
    imports: Promise<readonly CacheStore<RefResult>[]>,
  ): Solver<RefResult> {
    for (const vertex of vertices.values()) this.#declare(vertex);
    return new Solver<RefResult>({
      vertices,
      local: this.#engine.localCache,
      imports,
      signal: this.#request.signal,
      warn: (text) => this.#progress.emit({ kind: "warning", vertex: "", text }),
      alone: (name) => this.#engine.locks.hold(hexOf(name), this.#request.signal),
      during: (digest, task) => this.#progress.during(digest, task),
      isAvailable: ({ ref }) => ref === undefined || this.#engine.refs.isAvailable(ref),
      events: {
        started: (digest) => this.#progress.update(digest, { started: Date.now() }),
        completed: (digest, lookup, error) => this.#completed(vertices.get(digest)!, lookup, error),
      },
    });
  }

  /** A step's error with its place in the Dockerfile. */
  #located(error: unknown, { results, source }: FrontendOutcome): unknown {
    const vertex = this.#failed.get(error);
    const locations = results.flatMap(
      ({ definition }) => (vertex && definition?.source?.locations.get(vertex)) ?? [],
    );
    const ranges = locations[0]?.ranges ?? [];
    if (ranges.length === 0) return error;
    const located = new SourceError(messageOf(error), [ranges], error);
    located.file = source;
    return located;
  }

  #declare(vertex: Vertex<RefResult>): void {
    this.#progress.declare(
      vertex.digest,
      vertex.name,
      vertex.inputs.map((input) => input.vertex),
    );
  }

  #completed(vertex: Vertex<RefResult>, lookup: Lookup | undefined, error: Error | undefined): void {
    if (error && !this.#failed.has(error)) this.#failed.set(error, vertex.digest);
    this.#progress.update(vertex.digest, {
      completed: Date.now(),
      cached: lookup?.kind === "hit",
      ...(lookup?.kind === "hit" && { cacheSource: lookup.source }),
      ...(error && { error: error.message }),
    });
  }

  #frontendHost(): FrontendHost {
    const { signal } = this.#request;
    return {
      resolveImage: (reference, { platform, logName, layout }) =>
        this.#progress.step(logName, async () => {
          try {
            const images = layout === undefined ? this.#images : this.#layouts.get(layout)!;
            const source = await images.resolve(reference, platform, signal);
            return { reference, digest: source.digest, config: source.config };
          } catch (error) {
            throw resolveError(reference, error);
          }
        }),
      readFiles: (definition, paths, limit = Infinity) => this.#readFiles(definition, paths, limit),
    };
  }

  async #readFiles(
    definition: Definition,
    paths: readonly string[],
    limit: number,
  ): Promise<ReadonlyMap<string, Uint8Array>> {
    const { op, metadata } = definition.ops[0]!;
    const identifier = op.kind === "source" ? op.source.identifier : "";
    if (!identifier.startsWith("local://")) return this.#readSolved(definition, paths, limit);
    const name = identifier.slice("local://".length);
    return this.#readFolder(name, metadata.description["llb.customname"] ?? `load ${name}`, paths);
  }

  /** Files of a client's folder, read where they are. */
  async #readFolder(
    name: string,
    title: string,
    paths: readonly string[],
  ): Promise<ReadonlyMap<string, Uint8Array>> {
    const folder = this.#session.folder(name);
    return this.#progress.step(title, async (step) => {
      if (name === "dockerfile") this.#definitionStep = step.id;
      const files = new Map<string, Uint8Array>();
      for (const path of paths) {
        if (folder === undefined) break;
        try {
          files.set(path, await readFile(join(folder, path)));
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
        }
      }
      const size = [...files.values()].reduce((sum, data) => sum + data.length, 0);
      await step.status(`transferring ${name}: ${size}B`, async () => undefined);
      return files;
    });
  }

  /** Files of what a definition makes. */
  async #readSolved(
    definition: Definition,
    paths: readonly string[],
    limit: number,
  ): Promise<ReadonlyMap<string, Uint8Array>> {
    const { refs, worker, state } = this.#engine;
    const { signal } = this.#request;
    const graph = loadDefinition(definition, hostPlatform(), this.#context, state.root);
    const solver = this.#solver(graph.vertices, Promise.resolve([]));
    this.#definitionStep = graph.target.vertex;
    return solver.solve([graph.target], async ([result]) => {
      const layers = await refs.folders(result!.ref, signal);
      const task = { tree: { kind: "layers", layers }, paths, limit } as const;
      const contents = await worker.perform("read", task, signal);
      return new Map(paths.flatMap((path, i) => (contents[i] ? [[path, contents[i]] as const] : [])));
    });
  }
}

/** How the first that needs layers wants them; `undefined`: nobody does. */
function packedAs({ outputs, cacheTo }: BuildRequest): LayerFormat | undefined {
  const images = outputs.flatMap((output) => ("image" in output ? [output.image] : []));
  return images.find(({ rewriteTimestamp }) => !rewriteTimestamp)?.format ?? cacheTo[0]?.format;
}
