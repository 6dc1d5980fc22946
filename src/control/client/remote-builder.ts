// Builds in a daemon of somebody: any that speaks BuildKit's API. This process lends it what it needs, shows what it
// tells, and keeps what comes out.
import type { ClientHttp2Session } from "node:http2";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import {
  nameImage,
  type Builder,
  type BuilderInfo,
  type BuildRequest,
  type BuildResponse,
} from "../../builder/index.js";
import type { Descriptor } from "../../content/index.js";
import { descriptionOf, type Call, type Description, type FrontendWarning } from "../../frontend/index.js";
import { BuildError } from "../../lib/index.js";
import type { ProgressWarning } from "../../progress/index.js";
import type { PruneOptions, UsageRecord } from "../../prune/index.js";
import {
  DiskUsageRequestSchema,
  DiskUsageResponseSchema,
  InfoRequestSchema,
  InfoResponseSchema,
  ListWorkersRequestSchema,
  ListWorkersResponseSchema,
  PruneRequestSchema,
  UsageRecordSchema,
  type UsageRecord as UsageMessage,
} from "../gen/buildkit/control_pb.js";
import type { Result } from "../gen/buildkit/gateway_pb.js";
import { Channel } from "../grpc.js";
import { definitionOf, platformOf } from "../llb.js";
import { outcomesOf } from "../results.js";
import { openConnection } from "./connection.js";
import { failureOf } from "./failure.js";
import { RemoteSolver } from "./remote-solver.js";
import { cachesOf, exportersOf, frontendAttrs, type WireEntry } from "./request.js";
import type { Endpoint, RemoteBuilderOptions } from "./types.js";

const CONTROL = "/moby.buildkit.v1.Control";

const REQUESTS: Readonly<Record<Call, string>> = {
  check: "frontend.lint",
  outline: "frontend.outline",
  targets: "frontend.targets",
};

export class RemoteBuilder implements Builder {
  readonly #connection: ClientHttp2Session;
  readonly #channel: Channel;
  readonly #options: RemoteBuilderOptions;
  readonly #solver: RemoteSolver;

  /** @throws BuildError BUILDER_UNREACHABLE, ADDRESS_INVALID */
  static async connect(endpoint: Endpoint, options: RemoteBuilderOptions): Promise<RemoteBuilder> {
    return new RemoteBuilder(await openConnection(endpoint), options);
  }

  private constructor(connection: ClientHttp2Session, options: RemoteBuilderOptions) {
    this.#connection = connection;
    this.#channel = new Channel(connection);
    this.#options = options;
    this.#solver = new RemoteSolver(connection, this.#channel, options);
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
    const { ref, response, result } = await this.#solver.run(
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
    const { result } = await this.#solver.run(request, wire, { sinks: [], stores: new Map() });
    const json = result.metadata["result.json"];
    if (!json)
      throw new BuildError("REMOTE_FAILED", `the builder's frontend does not know ${REQUESTS[call]}`);
    return descriptionOf(call, Buffer.from(json).toString(), request.frontend.filename);
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
