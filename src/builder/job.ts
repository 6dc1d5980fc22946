// One build in progress: what its client lends it, and the graphs it solves. Several frontends may ask it for results,
// one after another; what their graphs have in common is solved once.
import { randomUUID } from "node:crypto";
import { setMaxListeners } from "node:events";
import { setTimeout } from "node:timers/promises";
import { CachePlaces, type CacheImport, type OciStore, type RefResult } from "../cache/index.js";
import { readCdiDevices } from "../executor/index.js";
import {
  hostPlatform,
  type FrontendHost,
  type FrontendWarning,
  type ResolvedImage,
  type ResolveImageOptions,
} from "../frontend/index.js";
import { BuildError, hexOf, type Digest } from "../lib/index.js";
import type { Definition, Platform, SourceInfo } from "../llb/index.js";
import type { Descriptor } from "../content/index.js";
import { loadDefinition, sessionOf, type Material, type OpContext } from "../op/index.js";
import { Progress, type ProgressListener } from "../progress/index.js";
import type { RegistryClient } from "../registry/index.js";
import type { Session } from "../session/index.js";
import type { LayerFormat, Ref } from "../snapshot/index.js";
import { Solver, type CacheStore, type Edge, type Lookup, type Vertex } from "../solver/index.js";
import { ImageSource, resolveError } from "../source/index.js";
import type { TreeEntry } from "../worker/index.js";
import { FrontendContainer, type ContainerRequest } from "./container.js";
import type { Engine } from "./engine.js";
import { Failures } from "./failures.js";
import { importCaches } from "./import-caches.js";

/** Images in stores of the client, by the store's name. */
export interface Layouts {
  get(name: string): ImageSource | undefined;
}

export interface JobOptions {
  readonly session: Session;
  readonly registry: RegistryClient;
  /** OCI layouts of the client by name */
  readonly layouts: Layouts;
  /** folders of the client for local caches, where it is not this process */
  readonly openLocal?: (folder: string) => OciStore;
  readonly entitlements: ReadonlySet<string>;
  /** how layers will be packed, if they will: it is done while later steps run */
  readonly format: LayerFormat | undefined;
  /** what steps that fail leave behind can be looked at */
  readonly keepsFailed?: boolean;
  /** Reads the message pb.Definition; `undefined` is scratch. Without it ops that build from one fail. */
  readonly readGraph?: (definition: Uint8Array) => Definition | undefined;
  readonly onProgress: ProgressListener;
  readonly signal: AbortSignal;
}

/** An output of a graph, solved when it is needed. */
export interface Solution {
  readonly solver: Solver<RefResult>;
  readonly edge: Edge;
  readonly definition: Definition;
}

/** Milliseconds that steps have to end in. */
const GRACE = 10_000;

export class Job {
  readonly engine: Engine;
  readonly progress: Progress;
  readonly places: CachePlaces;
  readonly registry: RegistryClient;
  readonly signal: AbortSignal;
  readonly failures = new Failures();
  readonly #options: JobOptions;
  readonly #context: OpContext;
  readonly #images: ImageSource;
  /** by reference, platform and layout: a step of the progress each */
  readonly #resolved = new Map<string, Promise<ResolvedImage>>();
  readonly #solvers = new Map<
    string,
    { solver: Solver<RefResult>; vertices: Map<Digest, Vertex<RefResult>> }
  >();
  /** results that no later build can find */
  readonly #transient: Ref[] = [];
  /** clients' folders that were sent, and what they were before */
  readonly #sent: Ref[] = [];
  readonly #materials = new Map<string, Material>();
  /** what the build uses may be removed from then on */
  readonly #end: () => void;
  #containers = 0;
  /** the step that loads the Dockerfile: what is said of it is shown there */
  #definitionStep = "";

  /** aborted when the build has failed */
  readonly #abandoned = new AbortController();

  /** how what was exported as images is named, in order of the outputs */
  readonly exported: Descriptor[] = [];

  constructor(engine: Engine, options: JobOptions) {
    const { registry, session, signal, format } = options;
    this.signal = AbortSignal.any([signal, this.#abandoned.signal]);
    // every step and every layer listens to it
    setMaxListeners(0, signal, this.signal);
    this.engine = engine;
    this.#end = engine.begin();
    this.registry = registry;
    this.#options = options;
    this.progress = new Progress(options.onProgress);
    this.places = new CachePlaces(registry, {
      corrupt: engine.corruptBlobs,
      openLocal: options.openLocal,
    });
    this.#images = new ImageSource(registry, engine.blobs, engine.refs, engine.imageOrigins);
    this.#context = {
      refs: engine.refs,
      blobs: engine.blobs,
      images: this.#images,
      layouts: options.layouts,
      worker: engine.worker,
      http: engine.http,
      session,
      cacheMounts: engine.cacheMounts,
      found: (material) => this.#materials.set(material.uri, material),
      failed: options.keepsFailed ? (error, left) => this.failures.keep(error, left) : undefined,
      transient: (ref) => this.#transient.push(ref),
      lastSent: (key) => {
        const ref = engine.localSources.take(key);
        if (ref) this.#sent.push(ref);
        return ref;
      },
      sent: (key, ref) => {
        engine.localSources.keep(key, ref);
        this.#sent.push(ref);
      },
      solveGraph: (definition) => this.#solveGraph(definition),
      entitlements: options.entitlements,
      sources: new Map(),
      devices: () => readCdiDevices(engine.cdiFolders),
      runtime: engine.runtime,
      dns: engine.dns,
      steps: engine.steps,
      log: (vertex, stream, data) =>
        this.progress.emit({ kind: "log", vertex, stream, data: new Uint8Array(data), time: Date.now() }),
      made: (ref) => {
        if (format) engine.refs.pack(ref, signal, format).catch(() => undefined);
      },
      containerId: () => `bluekiln-${process.pid}-${randomUUID().slice(0, 8)}-${++this.#containers}`,
    };
  }

  /** Ends what still runs, because something has failed; hardly anything of it runs afterwards. */
  async abandon(): Promise<void> {
    this.#abandoned.abort(new BuildError("CANCELED", "context canceled"));
    const settled = Promise.all([...this.#solvers.values()].map(({ solver }) => solver.settled()));
    await Promise.race([settled, setTimeout(GRACE, undefined, { ref: false })]);
  }

  /** What the job alone could find again goes with it. */
  async close(): Promise<void> {
    const { localSources, pruning } = this.engine;
    await pruning.release([...this.#transient, ...localSources.release(this.#sent)]);
    this.#end();
  }

  /** Nothing is solved yet. @param imports caches to look in @throws BuildError LLB_INVALID, NOT_ALLOWED */
  load(definition: Definition, platform: Platform, imports: readonly CacheImport[]): Solution {
    const graph = loadDefinition(definition, platform, this.#context, this.engine.state.root);
    const { solver, vertices } = this.#solver(imports);
    for (const [digest, vertex] of graph.vertices) {
      if (vertices.has(digest)) continue;
      vertices.set(digest, vertex);
      this.progress.declare(
        digest,
        vertex.name,
        vertex.inputs.map((input) => input.vertex),
      );
    }
    return { solver, edge: graph.target, definition };
  }

  async #solveGraph(bytes: Uint8Array): Promise<RefResult> {
    const { readGraph } = this.#options;
    if (!readGraph) throw new BuildError("LLB_INVALID", "graphs in files come from clients of a daemon only");
    const definition = readGraph(bytes);
    if (!definition) return { ref: undefined };
    const { solver, edge } = this.load(definition, hostPlatform(), []);
    return solver.solve([edge], async ([result]) => result!);
  }

  /** Begins to read the caches, so that they are there when they are needed. */
  openCaches(imports: readonly CacheImport[]): void {
    this.#solver(imports);
  }

  #solver(imports: readonly CacheImport[]): {
    solver: Solver<RefResult>;
    vertices: Map<Digest, Vertex<RefResult>>;
  } {
    const key = JSON.stringify(imports.map(({ place }) => place));
    let known = this.#solvers.get(key);
    if (!known) {
      const vertices = new Map<Digest, Vertex<RefResult>>();
      const stores = importCaches(this.engine, imports, this.places, this.progress, this.signal);
      stores.catch(() => undefined);
      known = { vertices, solver: this.#newSolver(vertices, stores) };
      this.#solvers.set(key, known);
    }
    return known;
  }

  #newSolver(
    vertices: ReadonlyMap<Digest, Vertex<RefResult>>,
    imports: Promise<readonly CacheStore<RefResult>[]>,
  ): Solver<RefResult> {
    const { localCache, locks, refs } = this.engine;
    return new Solver<RefResult>({
      vertices,
      local: localCache,
      imports,
      signal: this.signal,
      warn: (text) => this.progress.emit({ kind: "warning", vertex: "", text }),
      alone: (name) => locks.hold(hexOf(name), this.signal),
      during: (digest, task) => this.progress.during(digest, task),
      isAvailable: ({ ref }) => ref === undefined || refs.isAvailable(ref),
      events: {
        started: (digest) => this.progress.update(digest, { started: Date.now() }),
        completed: (digest, lookup, error) => this.#completed(vertices.get(digest)!, lookup, error),
      },
    });
  }

  #completed(vertex: Vertex<RefResult>, lookup: Lookup | undefined, error: Error | undefined): void {
    if (error) this.failures.add(error, vertex.digest);
    this.progress.update(vertex.digest, {
      completed: Date.now(),
      cached: lookup?.kind === "hit",
      ...(lookup?.kind === "hit" && { cacheSource: lookup.source }),
      ...(error && { error: error.message }),
    });
  }

  /** Sources that were found, other than images and the client's. */
  get materials(): readonly Material[] {
    return [...this.#materials.values()];
  }

  /** What the linter says, in the step that loaded the Dockerfile. */
  warn(warnings: readonly FrontendWarning[], source: SourceInfo): void {
    for (const { rule, description, url, detail, ranges } of warnings) {
      const line = ranges[0]?.start.line ?? 0;
      this.progress.emit({
        kind: "warning",
        vertex: this.#definitionStep,
        text: `${rule}: ${detail} (line ${line})`,
        about: { detail: [description], url, source, ranges },
      });
    }
  }

  /** What a frontend of this process may ask. */
  frontendHost(imports: readonly CacheImport[] = []): FrontendHost {
    return {
      resolveImage: (reference, options) => {
        const key = JSON.stringify([reference, options.platform, options.layout]);
        const resolving = this.#resolved.get(key) ?? this.#resolveImage(reference, options);
        this.#resolved.set(key, resolving);
        return resolving;
      },
      readFiles: (definition, paths, limit = Infinity) => this.#readFiles(definition, paths, limit, imports),
    };
  }

  #resolveImage(
    reference: string,
    { platform, logName, layout }: ResolveImageOptions,
  ): Promise<ResolvedImage> {
    return this.progress.step(logName, async () => {
      try {
        const images = layout === undefined ? this.#images : this.#options.layouts.get(layout);
        if (!images) throw new BuildError("LAYOUT_MISSING", `the client has no OCI layout ${layout}`);
        const { digest, config } = await images.resolve(reference, platform, this.signal);
        return { reference, digest, config };
      } catch (error) {
        throw resolveError(reference, error);
      }
    });
  }

  async #readFiles(
    definition: Definition,
    paths: readonly string[],
    limit: number,
    imports: readonly CacheImport[],
  ): Promise<ReadonlyMap<string, Uint8Array>> {
    const { op, metadata } = definition.ops[0]!;
    const source = op.kind === "source" ? op.source : { identifier: "", attrs: {} };
    const { identifier } = source;
    // nothing but a folder
    if (identifier.startsWith("local://") && definition.ops.length === 2) {
      const name = identifier.slice("local://".length);
      const session = await sessionOf(this.#options, source.attrs, this.signal);
      return this.#readFolder(session, name, metadata.description["llb.customname"] ?? `load ${name}`, paths);
    }
    const solution = this.load(definition, hostPlatform(), imports);
    this.#definitionStep = solution.edge.vertex;
    return this.read(solution, paths, limit);
  }

  /** Files of a client's folder, without a step of their own in the graph. */
  async #readFolder(
    session: Session,
    name: string,
    title: string,
    paths: readonly string[],
  ): Promise<ReadonlyMap<string, Uint8Array>> {
    return this.progress.step(title, async (step) => {
      if (title.startsWith("[internal] load build definition")) this.#definitionStep = step.id;
      return step.status(`transferring ${name}:`, async (moved) => {
        const files = await session.readFiles(name, paths, this.signal);
        for (const data of files.values()) moved(data.length);
        return files;
      });
    });
  }

  /** A container with results as its mounts; nothing runs yet. */
  container(request: ContainerRequest): FrontendContainer {
    return new FrontendContainer(this.#context, request, this.signal);
  }

  /** What a result has at a path. @throws BuildError FILE_MISSING */
  async list(
    { solver, edge }: Solution,
    path: string,
    kind: "entry" | "folder",
  ): Promise<readonly TreeEntry[]> {
    const { refs, worker } = this.engine;
    return solver.solve([edge], async ([result]) => {
      const layers = await refs.folders(result!.ref, this.signal);
      return worker.perform("list", { tree: { kind: "layers", layers }, path, kind }, this.signal);
    });
  }

  /** Files of a result; one that is not there is not in the map. @param limit bytes of each */
  async read(
    { solver, edge }: Solution,
    paths: readonly string[],
    limit: number,
  ): Promise<ReadonlyMap<string, Uint8Array>> {
    const { refs, worker } = this.engine;
    return solver.solve([edge], async ([result]) => {
      const layers = await refs.folders(result!.ref, this.signal);
      const task = { tree: { kind: "layers", layers }, paths, limit } as const;
      const contents = await worker.perform("read", task, this.signal);
      return new Map(paths.flatMap((path, i) => (contents[i] ? [[path, contents[i]] as const] : [])));
    });
  }
}
