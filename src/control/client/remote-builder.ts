// Builds in a daemon of somebody: any that speaks BuildKit's API. This process lends it what it needs, shows what it
// tells, and keeps what comes out.
import { createHash, randomUUID } from "node:crypto";
import type { ClientHttp2Session } from "node:http2";
import { hostname } from "node:os";
import { basename } from "node:path";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { ConnectError } from "@connectrpc/connect";
import {
  nameImage,
  type Builder,
  type BuilderInfo,
  type BuildRequest,
  type BuildResponse,
} from "../../builder/index.js";
import { DiskStore } from "../../cache/index.js";
import type { Descriptor } from "../../content/index.js";
import { descriptionOf, type Call, type Description, type FrontendWarning } from "../../frontend/index.js";
import { BuildError, messageOf } from "../../lib/index.js";
import type { ProgressWarning } from "../../progress/index.js";
import type { PruneOptions, UsageRecord } from "../../prune/index.js";
import { statusOf as statusMessage } from "../errors.js";
import {
  DiskUsageRequestSchema,
  DiskUsageResponseSchema,
  InfoRequestSchema,
  InfoResponseSchema,
  ListWorkersRequestSchema,
  ListWorkersResponseSchema,
  PruneRequestSchema,
  SolveRequestSchema as ControlSolveRequestSchema,
  SolveResponseSchema as ControlSolveResponseSchema,
  StatusRequestSchema,
  StatusResponseSchema,
  UsageRecordSchema,
  type UsageRecord as UsageMessage,
} from "../gen/buildkit/control_pb.js";
import {
  ReturnRequestSchema,
  ReturnResponseSchema,
  SolveRequestSchema,
  SolveResponseSchema,
  type Result,
} from "../gen/buildkit/gateway_pb.js";
import { Channel } from "../grpc.js";
import { definitionOf, platformOf } from "../llb.js";
import { outcomesOf } from "../results.js";
import { serveThrough } from "../session/tunnel.js";
import { attachables, attachableServer } from "./attachables.js";
import { openConnection } from "./connection.js";
import { StatusBatch } from "./events.js";
import { failureOf, statusOf } from "./failure.js";
import { cachesOf, exportersOf, frontendAttrs, type WireEntry } from "./request.js";
import type { Endpoint, RemoteBuilderOptions } from "./types.js";

const CONTROL = "/moby.buildkit.v1.Control";
const BRIDGE = "/moby.buildkit.v1.frontend.LLBBridge";

const REQUESTS: Readonly<Record<Call, string>> = {
  check: "frontend.lint",
  outline: "frontend.outline",
  targets: "frontend.targets",
};

/** Milliseconds that the last events of a build are waited for. */
const LAST_EVENTS = 3000;

/** What a build is in the daemon, besides its request. */
interface Wire {
  readonly attrs: Readonly<Record<string, string>>;
  readonly exporters: readonly WireEntry[];
  readonly imports: readonly WireEntry[];
  readonly exports: readonly WireEntry[];
}

export class RemoteBuilder implements Builder {
  readonly #connection: ClientHttp2Session;
  readonly #channel: Channel;
  readonly #options: RemoteBuilderOptions;

  /** @throws BuildError BUILDER_UNREACHABLE, ADDRESS_INVALID */
  static async connect(endpoint: Endpoint, options: RemoteBuilderOptions): Promise<RemoteBuilder> {
    return new RemoteBuilder(await openConnection(endpoint), options);
  }

  private constructor(connection: ClientHttp2Session, options: RemoteBuilderOptions) {
    this.#connection = connection;
    this.#channel = new Channel(connection);
    this.#options = options;
  }

  async build(request: BuildRequest): Promise<BuildResponse> {
    const { name, node, environment } = this.#options;
    const { entries: exporters, sinks, stores } = exportersOf(request);
    const caches = await cachesOf(request, environment);
    for (const text of caches.notes) request.onProgress({ kind: "warning", vertex: "", text });
    const { imports, exports } = caches;
    const attrs = { ...frontendAttrs(request), ...cacheAttrs(imports) };
    const warnings: ProgressWarning[] = [];
    const lent = { sinks, stores: new Map([...stores, ...caches.stores]) };
    const { ref, response, result } = await this.#solve(
      {
        ...request,
        onProgress: (event) => {
          if (event.kind === "warning" && event.about) warnings.push(event);
          request.onProgress(event);
        },
      },
      { attrs, exporters, imports, exports },
      lent,
    );
    const metadata = decoded(response);
    if (caches.written && response["cache.manifest"]) {
      const manifest = JSON.parse(response["cache.manifest"]) as Descriptor;
      await caches.written.store.tag(manifest, caches.written.tag);
    }
    const image = metadata["containerimage.descriptor"] as Descriptor | undefined;
    const names = response["image.name"]?.split(",") ?? [];
    for (const store of stores.values()) if (image) await nameImage(store, image, names);
    return {
      metadata: { ...metadata, "buildx.build.ref": `${name}/${node}/${ref}` },
      definitions: definitionsOf(result),
      frontendResults: outcomesOf(result, () => undefined).results,
      warnings: warnings.map(frontendWarning),
    };
  }

  async describe(request: BuildRequest, call: Call): Promise<Description> {
    const { imports } = await cachesOf(request, this.#options.environment);
    const attrs = {
      ...frontendAttrs(request),
      ...cacheAttrs(imports),
      requestid: REQUESTS[call],
      "frontend.caps": "moby.buildkit.frontend.subrequests+forward",
    };
    const wire = { attrs, exporters: [], imports, exports: [] };
    const { result } = await this.#solve(request, wire, { sinks: [], stores: new Map() });
    const json = result.metadata["result.json"];
    if (!json)
      throw new BuildError("REMOTE_FAILED", `the builder's frontend does not know ${REQUESTS[call]}`);
    return descriptionOf(call, Buffer.from(json).toString(), request.frontend.filename);
  }

  /** Runs the Dockerfile frontend of the daemon as a client's frontend, as buildx does. */
  async #solve(
    request: BuildRequest,
    { attrs, exporters, imports, exports }: Wire,
    lent: Pick<Parameters<typeof attachables>[0], "sinks" | "stores">,
  ): Promise<{ ref: string; response: Readonly<Record<string, string>>; result: Result }> {
    const ref = newId();
    const during = new AbortController();
    const signal = AbortSignal.any([request.signal, during.signal]);
    const session = this.#openSession(request, lent, signal);
    const events = this.#follow(ref, request, signal);
    try {
      const solved = this.#channel.unary(
        `${CONTROL}/Solve`,
        ControlSolveRequestSchema,
        ControlSolveResponseSchema,
        {
          Ref: ref,
          Session: session,
          Exporters: exporters.map((entry) => ({ ...entry })),
          // for daemons that know one output only
          ExporterDeprecated: exporters[0]?.Type ?? "",
          ExporterAttrsDeprecated: exporters[0]?.Attrs ?? {},
          Cache: { Exports: [...exports], Imports: [...imports] },
          Entitlements: [...request.entitlements],
        },
        signal,
      );
      // what fails before the frontend is asked must not let it wait
      const asked = this.#runFrontend(ref, attrs, imports, AbortSignal.any([signal, failed(solved)]));
      asked.catch(() => undefined);
      const { ExporterResponse } = await solved;
      return { ref, response: ExporterResponse, result: await asked };
    } catch (error) {
      if (this.#channel.isClosed && !request.signal.aborted)
        throw new BuildError("BUILDER_UNREACHABLE", "the builder closed the connection", { cause: error });
      throw failureOf(error);
    } finally {
      await Promise.race([events, new Promise((resolve) => setTimeout(resolve, LAST_EVENTS).unref())]);
      during.abort();
    }
  }

  /** @throws what the frontend says; the build ends with the same */
  async #runFrontend(
    ref: string,
    attrs: Readonly<Record<string, string>>,
    imports: readonly WireEntry[],
    signal: AbortSignal,
  ): Promise<Result> {
    const metadata = { "buildkit-controlapi-buildid": [ref] };
    const end = (how: { result: Result } | { error: NonNullable<ReturnType<typeof statusOf>> }) =>
      this.#channel.unary(
        `${BRIDGE}/Return`,
        ReturnRequestSchema,
        ReturnResponseSchema,
        how,
        signal,
        metadata,
      );
    let result: Result | undefined;
    try {
      const answer = await this.#channel.unary(
        `${BRIDGE}/Solve`,
        SolveRequestSchema,
        SolveResponseSchema,
        {
          Frontend: "dockerfile.v0",
          FrontendOpt: { ...attrs },
          CacheImports: [...imports],
          allowResultReturn: true,
          allowResultArrayRef: true,
        },
        signal,
        metadata,
      );
      result = answer.result;
      if (!result) throw new BuildError("REMOTE_FAILED", "the builder's frontend returned nothing");
    } catch (error) {
      const status = error instanceof ConnectError ? error : new ConnectError(messageOf(error));
      await end({ error: statusOf(status) ?? statusMessage(status) }).catch(() => undefined);
      throw error;
    }
    await end({ result });
    return result;
  }

  /** Lends what the build needs while it runs. @returns the session's id */
  #openSession(
    { folders, secrets, agents, layouts }: BuildRequest,
    { sinks, stores }: Pick<Parameters<typeof attachables>[0], "sinks" | "stores">,
    signal: AbortSignal,
  ): string {
    const { credentials, environment } = this.#options;
    const images = [...layouts].map(([name, folder]) => [`oci:${name}`, new DiskStore(folder)] as const);
    const handlers = attachables({
      folders,
      secrets,
      agents,
      environment,
      credentials,
      stores: new Map([...stores, ...images]),
      sinks,
    });
    const id = newId();
    const context = folders.get("context") ?? "";
    const stream = this.#connection.request({
      ":method": "POST",
      ":path": `${CONTROL}/Session`,
      "content-type": "application/grpc",
      te: "trailers",
      "x-docker-expose-session-uuid": id,
      "x-docker-expose-session-name": encodeURIComponent(basename(context)),
      // the same folder of the same machine: a daemon may keep what it was sent
      "x-docker-expose-session-sharedkey": createHash("sha256")
        .update(`${hostname()}:${context}`)
        .digest("hex"),
      "x-docker-expose-session-grpc-method": [...handlers.keys()],
    });
    stream.on("error", () => undefined);
    serveThrough(stream, attachableServer(handlers));
    signal.addEventListener("abort", () => stream.close(), { once: true });
    return id;
  }

  async #follow(ref: string, { onProgress }: BuildRequest, signal: AbortSignal): Promise<void> {
    const batch = new StatusBatch(onProgress);
    try {
      await this.#channel.stream(
        `${CONTROL}/Status`,
        StatusRequestSchema,
        StatusResponseSchema,
        { Ref: ref },
        (message) => batch.add(message),
        signal,
      );
    } catch {
      // how a build ends is Solve's to say
    } finally {
      batch.flush();
    }
  }

  async diskUsage(filters: readonly string[], signal: AbortSignal): Promise<readonly UsageRecord[]> {
    const { record } = await this.#channel
      .unary(
        `${CONTROL}/DiskUsage`,
        DiskUsageRequestSchema,
        DiskUsageResponseSchema,
        { filter: [...filters] },
        signal,
      )
      .catch((error: unknown) => {
        throw failureOf(error);
      });
    return record.map(usageOf).sort((a, b) => b.size - a.size);
  }

  async prune(
    options: PruneOptions,
    removed: (record: UsageRecord) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const { all, filters, keepDuration, reservedSpace, maxUsedSpace, minFreeSpace } = options;
    const request = {
      all,
      filter: [...filters],
      keepDuration: BigInt(keepDuration) * 1_000_000n,
      reservedSpace: BigInt(reservedSpace),
      maxUsedSpace: BigInt(maxUsedSpace),
      minFreeSpace: BigInt(minFreeSpace),
    };
    const take = (message: UsageMessage): void => removed(usageOf(message));
    try {
      await this.#channel.stream(
        `${CONTROL}/Prune`,
        PruneRequestSchema,
        UsageRecordSchema,
        request,
        take,
        signal,
      );
    } catch (error) {
      throw failureOf(error);
    }
  }

  async info(signal: AbortSignal): Promise<BuilderInfo> {
    const workers = await this.#channel.unary(
      `${CONTROL}/ListWorkers`,
      ListWorkersRequestSchema,
      ListWorkersResponseSchema,
      {},
      signal,
    );
    // daemons of old don't say
    const version = await this.#channel
      .unary(`${CONTROL}/Info`, InfoRequestSchema, InfoResponseSchema, {}, signal)
      .then(({ buildkitVersion }) => buildkitVersion?.version ?? "")
      .catch(() => "");
    return {
      version,
      workers: workers.record.map(({ ID, Labels, platforms }) => ({
        id: ID,
        labels: Labels,
        platforms: platforms.map(platformOf),
      })),
    };
  }

  async close(): Promise<void> {
    this.#connection.destroy();
  }
}

/** Fires when the build has failed. */
function failed(solved: Promise<unknown>): AbortSignal {
  const controller = new AbortController();
  solved.catch(() => controller.abort());
  return controller.signal;
}

/** As BuildKit's clients name builds and sessions: 25 letters and digits. */
function newId(): string {
  return randomUUID().replaceAll("-", "").slice(0, 25);
}

function cacheAttrs(imports: readonly WireEntry[]): Record<string, string> {
  return imports.length === 0 ? {} : { "cache-imports": JSON.stringify(imports) };
}

/** Values are strings, or base64 of JSON objects. */
function decoded(response: Readonly<Record<string, string>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(response).map(([key, value]) => {
      try {
        const json: unknown = JSON.parse(Buffer.from(value, "base64").toString());
        return [key, typeof json === "object" && json !== null ? json : value];
      } catch {
        return [key, value];
      }
    }),
  );
}

function definitionsOf({ result }: Result): BuildResponse["definitions"] {
  const refs =
    result.case === "refs" ? Object.values(result.value.refs) : result.case === "ref" ? [result.value] : [];
  return refs.map(({ def }) => definitionOf(def));
}

/** "RuleName: what is wrong (line 3)" */
function frontendWarning({ text, about }: ProgressWarning): FrontendWarning {
  const [, rule = "", detail = text] = /^(\w+): (.*?)(?: \(line \d+\))?$/s.exec(text) ?? [];
  return { rule, description: about!.detail.join("\n"), url: about!.url, detail, ranges: about!.ranges };
}

function usageOf(message: UsageMessage): UsageRecord {
  const { ID, RecordType, Parents, CreatedAt, LastUsedAt, UsageCount, Size, Description } = message;
  return {
    id: ID,
    kind: RecordType as UsageRecord["kind"],
    parents: Parents,
    createdAt: CreatedAt ? timestampMs(CreatedAt) : 0,
    lastUsedAt: LastUsedAt && timestampMs(LastUsedAt),
    usageCount: Number(UsageCount),
    size: Number(Size),
    description: Description,
    mutable: message.Mutable,
    inUse: message.InUse,
  };
}
