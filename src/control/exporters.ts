// Outputs and cache exports of a solve request.
import type { ClientDestination, ExportRequest } from "../builder/index.js";
import { cacheExportOf, outputOf } from "../builder/index.js";
import type { CacheExport } from "../cache/index.js";
import { BuildError } from "../lib/index.js";
import type { SolveRequest } from "./gen/buildkit/control_pb.js";
import type { RemoteSession } from "./session/remote-session.js";

type Environment = Readonly<Record<string, string | undefined>>;

/** @throws BuildError OUTPUT_INVALID, CACHE_* and the like */
export function exportRequest(
  request: SolveRequest,
  session: RemoteSession | undefined,
  environment: Environment,
  signal: AbortSignal,
): ExportRequest {
  const exporters = exportersOf(request);
  const epoch = request.FrontendAttrs["build-arg:SOURCE_DATE_EPOCH"];
  return {
    outputs: exporters.map(({ Type, Attrs: attrs }, i) =>
      outputOf({ type: Type, attributes: attrs }, destination(session, String(i), signal), epoch),
    ),
    cacheTo: cacheExports(request, environment),
    annotations: [],
    signal,
  };
}

function exportersOf({ Exporters, ExporterDeprecated, ExporterAttrsDeprecated }: SolveRequest) {
  if (Exporters.length > 0 || ExporterDeprecated === "") return Exporters;
  return [{ Type: ExporterDeprecated, Attrs: ExporterAttrsDeprecated }];
}

function cacheExports({ Cache }: SolveRequest, environment: Environment): readonly CacheExport[] {
  return (Cache?.Exports ?? []).map(({ Type, Attrs: attrs }) =>
    cacheExportOf({ type: Type, attributes: attrs }, environment),
  );
}

function destination(
  session: RemoteSession | undefined,
  exporter: string,
  signal: AbortSignal,
): ClientDestination {
  const client = (): RemoteSession => {
    if (!session) throw new BuildError("OUTPUT_INVALID", "this output needs a session");
    return session;
  };
  return {
    get layout() {
      return client().store("export", signal, () => undefined);
    },
    takeFolder: (folder, moved, during) => client().sendFolder(folder, exporter, moved, during),
    takeFile: (content, metadata, signal) => client().sendFile(content, exporter, metadata, signal),
  };
}
