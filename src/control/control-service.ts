// The service Control of BuildKit, without Session (see session/).
import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import type { Engine } from "../builder/index.js";
import { readCdiDevices } from "../executor/index.js";
import { BuildError, messageOf } from "../lib/index.js";
import type { UsageRecord } from "../prune/index.js";
import { RegistryClient } from "../registry/index.js";
import type { Builds } from "./builds.js";
import { DaemonBuild } from "./daemon-build.js";
import { statusError, statusOf } from "./errors.js";
import { exportRequest, lateOutputs } from "./exporters.js";
import { runFrontendImage } from "./frontend-image.js";
import { cacheImports } from "./frontend-attrs.js";
import type { Control, SolveRequest, UsageRecordSchema } from "./gen/buildkit/control_pb.js";
import { historyFilter } from "./history-filter.js";
import type { History } from "./history.js";
import { SourcePolicy } from "./source-policy.js";
import type { StatusLog } from "./status.js";
import type { Sessions } from "./session/sessions.js";
import type { DaemonOptions } from "./types.js";
import type { Traces } from "./traces/traces.js";
import { workerFilter } from "./worker-filter.js";
import { BUILDKIT_VERSION, workerRecord } from "./worker-record.js";

export interface ControlParts {
  readonly engine: Engine;
  readonly builds: Builds;
  readonly sessions: Sessions;
  readonly history: History;
  readonly traces: Traces;
  readonly options: DaemonOptions;
  /** fires when the daemon ends */
  readonly closing: AbortSignal;
}

export function controlService(parts: ControlParts): Omit<ServiceImpl<typeof Control>, "session"> {
  const { engine, builds, history, traces, closing } = parts;
  return {
    info: () => ({ buildkitVersion: BUILDKIT_VERSION }),
    listWorkers: async ({ filter }) => {
      try {
        const { devices } = await readCdiDevices(engine.cdiFolders);
        return { record: [workerRecord(parts.options, devices)].filter(workerFilter(filtersOf(filter))) };
      } catch (error) {
        throw statusError(error);
      }
    },
    async *status({ Ref }, { signal }) {
      const past = history.log(Ref);
      if (past) yield* past;
      else yield* (await builds.get(Ref)).log.follow(signal);
    },
    async solve(request, context) {
      const signal = AbortSignal.any([context.signal, closing]);
      let build: DaemonBuild | undefined;
      let response: Record<string, string> = {};
      let failure: ConnectError | undefined;
      const entry = builds.begin(request.Ref, (log) => startBuild(parts, request, log, signal));
      if (!request.Internal) {
        history.begin(request);
        traces.begin(request.Ref, context.requestHeader.get("traceparent"));
      }
      try {
        build = await entry.build;
        response = responseOf(await solve(build, request, parts.options));
        return { ExporterResponse: response };
      } catch (error) {
        await build?.job.abandon();
        const located = build?.located(error);
        const shown = signal.aborted
          ? new BuildError("CANCELED", "context canceled")
          : (located?.error ?? error);
        throw (failure = statusError(shown, located));
      } finally {
        await build?.close();
        const error = failure && statusOf(failure);
        try {
          const predicates = build?.predicates ?? [];
          const exported = build?.exported ?? [];
          history.end(request.Ref, { error, response, exported, log: entry.log.messages, predicates });
        } catch (cause) {
          // a full disk: the build's own end is what counts
          parts.options.warn(`the history of build ${request.Ref} cannot be written: ${messageOf(cause)}`);
        }
        traces.end(request.Ref, error?.message, entry.log.messages);
        builds.end(request.Ref);
        // without anybody waiting for it
        engine.collectGarbage(closing).catch(() => undefined);
      }
    },
    async diskUsage({ filter }, { signal }) {
      try {
        return { record: (await engine.diskUsage(filtersOf(filter), signal)).map(usageMessage) };
      } catch (error) {
        throw statusError(error);
      }
    },
    async *prune(request, { signal }) {
      const removed: UsageRecord[] = [];
      let wake: (() => void) | undefined;
      let isDone = false;
      const options = {
        all: request.all,
        filters: filtersOf(request.filter),
        keepDuration: Number(request.keepDuration / 1_000_000n),
        reservedSpace: Number(request.reservedSpace),
        maxUsedSpace: Number(request.maxUsedSpace),
        minFreeSpace: Number(request.minFreeSpace),
      };
      const take = (record: UsageRecord): void => {
        removed.push(record);
        wake?.();
      };
      const done = engine.prune(options, take, signal).finally(() => {
        isDone = true;
        wake?.();
      });
      done.catch(() => undefined);
      while (!isDone || removed.length > 0) {
        const record = removed.shift();
        if (record) yield usageMessage(record);
        else await new Promise<void>((resolve) => (wake = resolve));
      }
      await done.catch((error: unknown) => {
        throw statusError(error);
      });
    },
    async *listenBuildHistory({ ActiveOnly, Ref, EarlyExit, Limit, Filter }, { signal }) {
      let matches: ReturnType<typeof historyFilter>;
      try {
        matches = historyFilter(filtersOf(Filter));
      } catch (error) {
        throw statusError(error);
      }
      const query = { ref: Ref, activeOnly: ActiveOnly, earlyExit: EarlyExit, limit: Limit, matches };
      yield* history.listen(query, AbortSignal.any([signal, closing]));
    },
    updateBuildHistory({ Ref, Pinned, Delete, Finalize }) {
      if (Finalize) {
        traces.finalize(Ref);
        return {};
      }
      const isKnown = Delete ? history.delete(Ref) : history.pin(Ref, Pinned);
      if (!isKnown) throw new ConnectError(`no such record ${Ref}`, Code.NotFound);
      return {};
    },
  };
}

async function startBuild(
  { engine, sessions, options }: ControlParts,
  request: SolveRequest,
  log: StatusLog,
  during: AbortSignal,
): Promise<DaemonBuild> {
  const session = await sessions.get(request.Session, during);
  const signal = AbortSignal.any([during, session.closed]);
  const refused = request.Entitlements.find((name) => !isAllowed(options.entitlements, name));
  if (refused !== undefined)
    throw new BuildError(
      "NOT_ALLOWED",
      `granting entitlement ${refused} is not allowed by build daemon configuration`,
    );
  return new DaemonBuild({
    id: request.Ref,
    engine,
    session,
    registry: new RegistryClient(session, options.registries),
    entitlements: new Set(request.Entitlements),
    frontendImage: (build, wanted) => runFrontendImage(build, wanted, options),
    policy: new SourcePolicy(request.SourcePolicy ? [request.SourcePolicy] : []),
    exports: exportRequest(request, session, options.environment, signal),
    lateOutputs: (result) => lateOutputs(request, result, session, signal),
    provenanceEnvironment: options.provenanceEnvironment ?? {},
    log,
    signal,
  });
}

function isAllowed(entitlements: ReadonlySet<string>, name: string): boolean {
  return entitlements.has(name) || (name.startsWith("device") && entitlements.has("device"));
}

async function solve(
  build: DaemonBuild,
  request: SolveRequest,
  { environment }: DaemonOptions,
): Promise<Record<string, unknown>> {
  const { Frontend, FrontendAttrs, FrontendInputs, Definition } = request;
  // neither: the client runs a frontend itself; an empty definition is scratch
  const isOwn = Frontend === "" && !Definition;
  const result = isOwn
    ? await build.returned.done
    : await build.solve({
        definition: Definition,
        frontend: Frontend,
        attrs: FrontendAttrs,
        inputs: FrontendInputs,
        imports: cacheImports(FrontendAttrs, environment, request.Cache?.Imports),
        evaluate: false,
      });
  await build.scan(result, FrontendAttrs);
  return build.export(result, FrontendAttrs["platform"]);
}

/** Clients send an empty one for none. */
function filtersOf(filters: readonly string[]): readonly string[] {
  return filters.filter((filter) => filter !== "");
}

/** Values are strings; what is not is base64 of its JSON. */
function responseOf(metadata: Record<string, unknown>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(metadata).map(([key, value]) => [
      key,
      typeof value === "string" ? value : Buffer.from(JSON.stringify(value)).toString("base64"),
    ]),
  );
}

function usageMessage(record: UsageRecord): MessageInitShape<typeof UsageRecordSchema> {
  const { id, kind, parents, createdAt, lastUsedAt, usageCount, size, description, mutable, inUse } = record;
  return {
    ID: id,
    Mutable: mutable,
    InUse: inUse,
    Size: BigInt(size),
    CreatedAt: timestampFromMs(Math.round(createdAt)),
    ...(lastUsedAt !== undefined && { LastUsedAt: timestampFromMs(Math.round(lastUsedAt)) }),
    UsageCount: BigInt(usageCount),
    Description: description,
    RecordType: kind,
    Shared: false,
    Parents: [...parents],
  };
}
