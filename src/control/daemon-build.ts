// A build of a client: what Control.Solve began, and what the client's frontend asks of it meanwhile.
import { randomUUID } from "node:crypto";
import { create, fromBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  exportBuild,
  type ContainerRequest,
  type FrontendContainer,
  Job,
  packedAs,
  provenance,
  type Engine,
  type ExportRequest,
  type Outcomes,
  type Output,
  type ProvenanceRequest,
  type Solution,
} from "../builder/index.js";
import type { CacheImport } from "../cache/index.js";
import {
  buildDockerfile,
  FrontendImageError,
  formatPlatform,
  hostPlatform,
  sbomScanner,
  type FrontendHost,
  type FrontendOutcome,
} from "../frontend/index.js";
import type { Digest, GoValue } from "../lib/index.js";
import type { Place } from "./errors.js";
import { definitionOutput, type Definition, type Platform, type SourceOp } from "../llb/index.js";
import type { Descriptor } from "../content/index.js";
import { ImageSource, StoreLayout } from "../source/index.js";
import type { Predicate } from "../exporter/index.js";
import type { RegistryClient } from "../registry/index.js";
import { predicatesOf } from "./attestations.js";
import { frontendRequest, provenanceRequest, sbomOf } from "./frontend-attrs.js";
import { AttestationsSchema, ResultSchema, type Result } from "./gen/buildkit/gateway_pb.js";
import { OpSchema, type Definition as DefinitionMessage } from "./gen/buildkit/ops_pb.js";
import type { SolveSchema } from "./gen/buildkit/errdefs_pb.js";
import type { Ref } from "../snapshot/index.js";
import { describe, isDockerfile } from "./dockerfile-requests.js";
import { decodeDefinition, definitionMessage, definitionOf } from "./llb.js";
import type { RemoteSession } from "./session/remote-session.js";
import { FrontendReturn } from "./frontend-return.js";
import {
  hasSbom,
  outcomesOf,
  platformsGiven,
  refsOf,
  resultOf,
  returnedMetadata,
  sbomAttestation,
  type GivenRef,
} from "./results.js";
import type { Policy } from "./gen/buildkit/policy_pb.js";
import { platformWarnings } from "./requested-platforms.js";
import { SourcePolicy } from "./source-policy.js";
import { StatusLog } from "./status.js";

export interface DaemonBuildOptions {
  /** as the client names the build */
  readonly id: string;
  readonly engine: Engine;
  readonly session: RemoteSession;
  readonly registry: RegistryClient;
  readonly entitlements: ReadonlySet<string>;
  readonly exports: ExportRequest;
  /** more outputs, which depend on the result */
  readonly lateOutputs: (result: Result) => Promise<readonly Output[]>;
  readonly policy: SourcePolicy;
  /** see DaemonOptions */
  readonly provenanceEnvironment: Readonly<Record<string, GoValue>>;
  /** runs a frontend that is an image */
  readonly frontendImage: (build: DaemonBuild, options: SolveOptions) => Promise<Result>;
  readonly log: StatusLog;
  readonly signal: AbortSignal;
}

/** A frontend's request for a graph, built in or its own. */
export interface SolveOptions {
  readonly definition: DefinitionMessage | undefined;
  readonly frontend: string;
  readonly attrs: Readonly<Record<string, string>>;
  readonly inputs: Readonly<Record<string, DefinitionMessage>>;
  readonly imports: readonly CacheImport[];
  readonly evaluate: boolean;
  /** rules for the sources of this graph alone, after those of the build */
  readonly policies?: readonly Policy[];
}

/** An error and where it happened. */
export interface Located {
  readonly error: unknown;
  /** its digest */
  readonly step: string | undefined;
  /** what the error does not say itself */
  readonly places: readonly Place[];
}

export class DaemonBuild {
  readonly job: Job;
  readonly #options: DaemonBuildOptions;
  /** what frontends got, by id */
  readonly #refs = new Map<string, Solution>();
  /** what steps that failed left behind, by id: containers can mount it */
  readonly #left = new Map<string, Ref>();
  readonly #containers = new Map<string, FrontendContainer>();
  /** outcomes of the Dockerfile frontend: where a failed step stands */
  readonly #outcomes: FrontendOutcome[] = [];
  /** of a cache that the client keeps: it puts it in its index */
  #cacheManifest: Descriptor | undefined;
  /** of the frontend whose result is exported */
  #provenance: ProvenanceRequest | undefined;
  #predicates: readonly Predicate[] = [];
  readonly #startedAt = Date.now();
  /** what a frontend of the client returns in the end */
  readonly returned: FrontendReturn;

  constructor(options: DaemonBuildOptions) {
    const { engine, session, registry, entitlements, exports, policy, log, signal } = options;
    this.#options = options;
    this.job = new Job(engine, {
      session,
      registry,
      layouts: {
        get: (name) => {
          const store = session.store(`oci:${name}`, signal, () => undefined);
          return new ImageSource(new StoreLayout(store), engine.blobs, engine.refs);
        },
      },
      openLocal: (folder) =>
        session.store(`local:${folder}`, signal, (descriptor) => (this.#cacheManifest = descriptor)),
      entitlements,
      format: packedAs(exports),
      readGraph: (bytes) => {
        const definition = decodeDefinition(bytes);
        return definition && policy.apply(definition);
      },
      keepsFailed: true,
      onProgress: (event) => log.add(event),
      signal,
    });
    this.returned = new FrontendReturn(signal);
  }

  get sessionId(): string {
    return this.#options.session.id;
  }

  /** @throws what the frontend throws, BuildError LLB_INVALID */
  async solve(options: SolveOptions): Promise<Result> {
    const result = await this.#solve(options);
    if (options.evaluate) await Promise.all(refsOf(result).map((id) => this.evaluate(id)));
    return result;
  }

  async #solve(options: SolveOptions): Promise<Result> {
    const { definition, frontend, attrs, imports, policies = [] } = options;
    if (frontend === "") {
      const given = definitionOf(definition);
      const allowed = this.#options.policy.before(policies);
      const ref = given && this.#ref(given, hostPlatform(), imports, allowed);
      return create(ResultSchema, { result: { case: "ref", value: ref ?? {} } });
    }
    if (definition && definition.def.length > 0)
      throw new ConnectError("cannot solve with both Definition and Frontend specified", Code.Unknown);
    if (frontend === "gateway.v0" && !isDockerfile(attrs["source"] ?? ""))
      return this.#options.frontendImage(this, options);
    if (frontend !== "dockerfile.v0" && frontend !== "gateway.v0")
      throw new ConnectError(`frontend ${frontend} not found`, Code.Unknown);
    try {
      return await this.#dockerfile(options);
    } catch (error) {
      if (!(error instanceof FrontendImageError)) throw error;
      const { image, commandLine } = error;
      const own = { ...attrs, source: image, cmdline: commandLine };
      return this.#options.frontendImage(this, { ...options, attrs: own }).catch((failure: unknown) => {
        throw failure instanceof ConnectError ? failure : error.with(failure);
      });
    }
  }

  async #dockerfile({ attrs, inputs, imports }: SolveOptions): Promise<Result> {
    const request = { ...frontendRequest(attrs, inputs, this.sessionId), buildPlatform: hostPlatform() };
    const host = this.frontendHost(imports);
    if (attrs["requestid"]) return describe(attrs["requestid"], request, host);
    this.#provenance = {
      ...provenanceRequest(attrs, this.#options.id, this.#startedAt),
      environment: this.#options.provenanceEnvironment,
    };
    const outcome = await buildDockerfile(request, host, (warnings, source) =>
      this.job.warn(warnings, source),
    );
    this.#outcomes.push(outcome);
    return resultOf(outcome, outcome.multiPlatform, (definition, platform) =>
      this.#ref(definition, platform, imports),
    );
  }

  /** What a frontend may ask, within the client's policy. */
  frontendHost(imports: readonly CacheImport[] = []): FrontendHost {
    const host = this.job.frontendHost(imports);
    return {
      ...host,
      resolveImage: (reference, options) => {
        const scheme = options.layout === undefined ? "docker-image://" : "oci-layout://";
        const { identifier } = this.allowedSource({ identifier: scheme + reference, attrs: {} });
        return host.resolveImage(identifier.replace(/^[a-z-]+:\/\//, ""), options);
      },
      allowedSource: (identifier) => this.allowedSource({ identifier, attrs: {} }).identifier,
    };
  }

  /**
   * What is used in a source's place.
   * @param policies of who asks for it
   * @throws ConnectError if it is denied
   */
  allowedSource(source: SourceOp, policies: readonly Policy[] = []): SourceOp {
    try {
      return this.#options.policy.after(policies).source(source);
    } catch (error) {
      const { rawMessage, code } = ConnectError.from(error);
      throw new ConnectError(`could not resolve image due to policy: ${rawMessage}`, code);
    }
  }

  #ref(
    definition: Definition,
    platform: Platform,
    imports: readonly CacheImport[],
    policy = this.#options.policy,
  ): GivenRef {
    const id = randomUUID().replaceAll("-", "").slice(0, 25);
    const allowed = policy.apply(definition);
    this.#refs.set(id, this.job.load(allowed, platform, imports));
    return { id, def: definitionMessage(allowed) };
  }

  /** @returns `undefined` for scratch @throws ConnectError for an id that was never given out */
  ref(id: string): Solution | undefined {
    if (id === "") return undefined;
    const ref = this.#refs.get(id);
    if (!ref) throw new ConnectError(`no such ref: ${id}`, Code.Unknown);
    return ref;
  }

  /** @throws ConnectError for an id that is taken, or a mount that makes no sense */
  newContainer(id: string, request: Omit<ContainerRequest, "results">, results: readonly string[]): void {
    if (this.#containers.has(id))
      throw new ConnectError(`container ${id} already exists`, Code.AlreadyExists);
    const solutions = results.map((result) => {
      const ref = this.#left.get(result);
      return ref ? { ref } : this.ref(result);
    });
    this.#containers.set(id, this.job.container({ ...request, results: solutions }));
  }

  /** @throws ConnectError */
  container(id: string): FrontendContainer {
    const container = this.#containers.get(id);
    if (!container)
      throw new ConnectError(`container ${id} previously released or not created`, Code.NotFound);
    return container;
  }

  /** @throws ConnectError */
  async releaseContainer(id: string): Promise<void> {
    const container = this.container(id);
    this.#containers.delete(id);
    await container.release();
  }

  /** Solves now what would be solved when it is needed. */
  async evaluate(id: string): Promise<void> {
    const ref = this.ref(id);
    if (ref) await ref.solver.solve([ref.edge], async () => undefined);
  }

  /** Has a result scanned for what is in it, if the client wants that and its frontend has not done it. */
  async scan(result: Result, attrs: SolveOptions["attrs"]): Promise<void> {
    const request = sbomOf(attrs);
    if (!request || refsOf(result).length === 0 || hasSbom(result)) return;
    const scanner = await sbomScanner(request, this.frontendHost(), "default");
    for (const { id, ref } of platformsGiven(result)) {
      const scanned = this.ref(ref);
      if (!scanned) continue;
      const core = definitionOutput(scanned.definition);
      const definition = scanner(id, { core, extras: new Map(), ignoreCache: attrs["no-cache"] === "" });
      const { attestation } = sbomAttestation(this.#ref(definition, hostPlatform(), []));
      (result.attestations[id] ??= create(AttestationsSchema)).attestation.push(...attestation);
    }
  }

  /** @param requested the platforms that the client asked for @returns what clients are told of the build */
  async export(result: Result, requested: string | undefined): Promise<Record<string, unknown>> {
    const { exports, lateOutputs } = this.#options;
    const outputs = [...exports.outputs, ...(await lateOutputs(result))];
    const request = { ...exports, outputs, provenance: () => this.#provenance };
    const refOf = (id: string): Solution | undefined => this.ref(id);
    const outcomes = outcomesOf(result, refOf, await predicatesOf(result, this.job, refOf));
    await this.#verify(requested ?? formatPlatform(hostPlatform()), outcomes);
    const metadata = await exportBuild(this.job, request, outcomes);
    if (this.#provenance) this.#predicates = this.#predicatesOf(this.#provenance, outcomes);
    return {
      ...returnedMetadata(result),
      ...metadata,
      ...(this.#cacheManifest && { "cache.manifest": JSON.stringify(this.#cacheManifest) }),
    };
  }

  /** What outputs made, in order, as far as they are images. */
  get exported(): readonly Descriptor[] {
    return this.job.exported;
  }

  async #verify(requested: string, { results, multiPlatform }: Outcomes): Promise<void> {
    if (results.every(({ solution }) => !solution)) return;
    const platforms = results.map(({ platform }) => platform);
    const warnings = platformWarnings(requested, platforms, multiPlatform);
    if (warnings.length === 0) return;
    await this.job.progress.step("Verifying build result", async (step) => {
      for (const warning of warnings) step.warn(warning);
    });
  }

  /** What the build's record says of its results. */
  get predicates(): readonly Predicate[] {
    return this.#predicates;
  }

  #predicatesOf(request: ProvenanceRequest, { results }: Outcomes): Predicate[] {
    return results.map(({ solution, platform }) =>
      provenance({ ...request, mode: "max" }, solution?.definition, platform, this.job.materials),
    );
  }

  /** A step's error with its place in the Dockerfile, or in what the client says its graph was written in. */
  located(error: unknown): Located {
    const step = this.job.failures.step(error);
    for (const outcome of this.#outcomes) {
      const located = this.job.failures.located(error, outcome);
      if (located !== error) return { error: located, step, places: [] };
    }
    for (const { definition } of step === undefined ? [] : this.#refs.values()) {
      const { locations, infos } = definition.source ?? { infos: [] };
      const places = (locations?.get(step as Digest) ?? []).flatMap(({ sourceIndex, ranges }) => {
        const info = infos[sourceIndex];
        return info ? [{ info, ranges }] : [];
      });
      if (places.length > 0) return { error, step, places };
    }
    return { error, step, places: [] };
  }

  /** What frontends are told of an error for a look into it. */
  inspectable(error: unknown): MessageInitShape<typeof SolveSchema> {
    const step = this.job.failures.step(error);
    const ops =
      step === undefined ? [] : [...this.#refs.values()].flatMap(({ definition }) => definition.ops);
    const bytes = ops.find(({ digest }) => digest === step)?.bytes;
    const op = bytes && fromBinary(OpSchema, bytes);
    const { inputs = [], mounts = [], subject } = this.job.failures.leftBehind(error) ?? {};
    const about = subject && ({ case: subject.kind, value: { index: BigInt(subject.index) } } as const);
    return {
      op,
      inputIDs: this.#idsOf(inputs),
      mountIDs: this.#idsOf(mounts),
      ...(about && { subject: about }),
    };
  }

  #idsOf(refs: readonly (Ref | undefined)[]): string[] {
    return refs.map((ref) => {
      if (!ref) return "";
      const id = `left-${ref.id}`;
      this.#left.set(id, ref);
      return id;
    });
  }

  async close(): Promise<void> {
    await Promise.allSettled([...this.#containers.values()].map((container) => container.release()));
    await this.job.close();
  }
}
