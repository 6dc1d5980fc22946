// A build of this process from its request: the Dockerfile frontend, solve, outputs, cache export, in that order and side
// by side where nothing depends on it.
import {
  buildDockerfile,
  CORE,
  describeDockerfile,
  hostPlatform,
  SPDX,
  type Call,
  type Description,
  type FrontendOutcome,
  type FrontendRequest,
  type FrontendWarning,
} from "../frontend/index.js";
import { InProcessSession } from "../session/index.js";
import type { Predicate } from "../exporter/index.js";
import type { Definition } from "../llb/index.js";
import type { LayerFormat } from "../snapshot/index.js";
import { ImageSource, OciLayout } from "../source/index.js";
import { readBundle } from "./attestation-files.js";
import type { Engine } from "./engine.js";
import { entriesOf, type Entries } from "./entries.js";
import { beginExports } from "./export-cache.js";
import { exportBuild } from "./export-build.js";
import { Job } from "./job.js";
import type { ProvenanceRequest } from "./provenance.js";
import type { BuildRequest, BuildResponse, ExportRequest } from "./types.js";

export class Build {
  readonly #request: BuildRequest;
  readonly #id: string;
  readonly #entries: Entries;
  readonly #job: Job;
  readonly #startedAt = Date.now();

  /** @throws BuildError OUTPUT_INVALID, CACHE_*, AZBLOB_*, FLAG_INVALID */
  constructor(engine: Engine, request: BuildRequest, id: string) {
    const { folders, secrets, agents, layouts, entitlements, onProgress, signal } = request;
    this.#request = request;
    this.#id = id;
    this.#entries = entriesOf(request);
    this.#job = new Job(engine, {
      session: new InProcessSession({
        worker: engine.worker,
        folders,
        secrets,
        agents,
        environment: process.env,
      }),
      registry: engine.registry,
      layouts: new Map(
        [...layouts].map(([name, folder]) => [
          name,
          new ImageSource(new OciLayout(folder), engine.blobs, engine.refs),
        ]),
      ),
      entitlements,
      format: packedAs(this.#entries),
      onProgress,
      signal,
    });
  }

  async run(): Promise<BuildResponse> {
    try {
      return await this.#run();
    } catch (error) {
      await this.#job.abandon();
      throw error;
    } finally {
      await this.#job.close();
    }
  }

  async #run(): Promise<BuildResponse> {
    const job = this.#job;
    beginExports(this.#exports, job.places);
    job.openCaches(this.#entries.cacheFrom);
    let warnings: readonly FrontendWarning[] = [];
    const outcome = await buildDockerfile(this.#frontendRequest(), job.frontendHost(), (all, source) => {
      warnings = all;
      job.warn(all, source);
    });
    const metadata = await this.#solve(outcome).catch((error: unknown) => {
      throw job.failures.located(error, outcome);
    });
    return {
      metadata,
      definitions: outcome.results.map((result) => result.definition),
      frontendResults: outcome.results,
      warnings,
    };
  }

  /** @throws what the frontend throws; a check tells of it instead */
  async describe(call: Call): Promise<Description> {
    try {
      return await describeDockerfile(call, this.#frontendRequest(), this.#job.frontendHost());
    } finally {
      await this.#job.close();
    }
  }

  get #exports(): ExportRequest {
    const { annotations, signal } = this.#request;
    const { outputs, cacheTo } = this.#entries;
    return {
      outputs,
      cacheTo,
      annotations,
      signal,
      provenance: () => this.#provenance,
    };
  }

  get #provenance(): ProvenanceRequest | undefined {
    const { provenance: wish, frontend } = this.#request;
    if (!wish) return undefined;
    const { context, filename, target, buildArgs, labels, hasOwnDockerfile } = frontend;
    const named = (prefix: string, values: Readonly<Record<string, string>>) =>
      Object.entries(values).map(([key, value]) => [`${prefix}:${key}`, value] as const);
    const args = [...named("build-arg", buildArgs), ...named("label", labels)];
    return {
      ...wish,
      isWanted: true,
      isInlineOnly: false,
      id: this.#id,
      startedAt: this.#startedAt,
      frontend: "dockerfile.v0",
      args: { ...Object.fromEntries(args), filename, ...(target && { target }), ...(context && { context }) },
      locals: [...(context === "" ? ["context"] : []), ...(hasOwnDockerfile ? ["dockerfile"] : [])],
    };
  }

  #frontendRequest(): FrontendRequest {
    const { frontend, contexts } = this.#request;
    return { ...frontend, contexts, sessionId: this.#id, buildPlatform: hostPlatform() };
  }

  async #solve({ results, multiPlatform }: FrontendOutcome): Promise<Record<string, unknown>> {
    const { cacheFrom } = this.#entries;
    const outcomes = await Promise.all(
      results.map(async (result) => ({
        ...result,
        solution: result.definition && this.#job.load(result.definition, result.platform, cacheFrom),
        predicates: result.sbom && (await this.#scanned(result.sbom)),
      })),
    );
    return exportBuild(this.#job, this.#exports, { results: outcomes, multiPlatform });
  }

  async #scanned(definition: Definition): Promise<readonly Predicate[]> {
    return readBundle("", SPDX, this.#job, this.#job.load(definition, hostPlatform(), []), CORE);
  }
}

/** How the first that needs layers wants them; `undefined`: nobody does. */
export function packedAs({
  outputs,
  cacheTo,
}: Pick<ExportRequest, "outputs" | "cacheTo">): LayerFormat | undefined {
  const images = outputs.flatMap((output) => ("image" in output ? [output.image] : []));
  return images.find(({ rewriteTimestamp }) => !rewriteTimestamp)?.format ?? cacheTo[0]?.format;
}
