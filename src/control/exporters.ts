// Outputs and cache exports of a solve request.
import type { ClientDestination, ExportRequest } from "../builder/index.js";
import { cacheExportOf, outputOf, type Output } from "../builder/index.js";
import type { CacheExport } from "../cache/index.js";
import { BuildError } from "../lib/index.js";
import type { SolveRequest } from "./gen/buildkit/control_pb.js";
import type { ExporterRequest } from "./gen/buildkit/exporter_pb.js";
import type { Result } from "./gen/buildkit/gateway_pb.js";
import type { RemoteSession } from "./session/remote-session.js";

type Environment = Readonly<Record<string, string | undefined>>;

/** @throws BuildError OUTPUT_INVALID, CACHE_* and the like */
export function exportRequest(
  request: SolveRequest,
  session: RemoteSession | undefined,
  environment: Environment,
  signal: AbortSignal,
): ExportRequest {
  return {
    outputs: outputs(request, exportersOf(request), 0, session, signal),
    cacheTo: cacheExports(request, environment),
    annotations: [],
    signal,
  };
}

/**
 * Outputs that the client names once it knows the result.
 * @throws BuildError OUTPUT_INVALID; ConnectError with what the client says
 */
export async function lateOutputs(
  request: SolveRequest,
  result: Result,
  session: RemoteSession,
  signal: AbortSignal,
): Promise<readonly Output[]> {
  if (!request.EnableSessionExporter) return [];
  const wanted = await session.findExporters(result.metadata, refsOf(result), signal);
  return outputs(request, wanted, exportersOf(request).length, session, signal);
}

/** Scratch has none. */
function refsOf({ result }: Result): readonly string[] {
  const refs =
    result.case === "refs" ? Object.values(result.value.refs) : result.case === "ref" ? [result.value] : [];
  return refs.map(({ id }) => id).filter((id) => id !== "");
}

/** @param first number of the first: clients tell their outputs by numbers */
function outputs(
  { FrontendAttrs }: SolveRequest,
  exporters: readonly Pick<ExporterRequest, "Type" | "Attrs">[],
  first: number,
  session: RemoteSession | undefined,
  signal: AbortSignal,
): readonly Output[] {
  const epoch = FrontendAttrs["build-arg:SOURCE_DATE_EPOCH"];
  return exporters.map(({ Type, Attrs: attrs }, i) =>
    outputOf({ type: Type, attributes: attrs }, destination(session, String(first + i), signal), epoch),
  );
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
