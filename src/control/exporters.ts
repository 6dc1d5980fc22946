// Outputs and cache exports of a solve request.
import type { Annotation, ClientDestination, ExportRequest, Output } from "../builder/index.js";
import { imageOptions, outputFlag } from "../builder/index.js";
import { cacheExport, type CacheExport } from "../cache/index.js";
import { BuildError } from "../lib/index.js";
import type { SolveRequest } from "./gen/buildkit/control_pb.js";
import type { RemoteSession } from "./session/remote-session.js";

type Environment = Readonly<Record<string, string | undefined>>;
type Attrs = Readonly<Record<string, string>>;

/** @throws BuildError OUTPUT_INVALID, CACHE_* and the like */
export function exportRequest(
  request: SolveRequest,
  session: RemoteSession | undefined,
  environment: Environment,
  signal: AbortSignal,
): ExportRequest {
  const exporters = exportersOf(request);
  const epochs = exporters.map(({ Attrs: attrs }) => attrs["source-date-epoch"]);
  const epoch = epochs.find((text) => text) ?? request.FrontendAttrs["build-arg:SOURCE_DATE_EPOCH"];
  return {
    outputs: exporters.map(({ Type, Attrs: attrs }, i) =>
      outputOf(Type, attrs, destination(session, String(i), signal)),
    ),
    cacheTo: cacheExports(request, environment),
    annotations: exporters.flatMap(({ Attrs: attrs }) => annotationsOf(attrs)),
    epoch: epoch ? Number(epoch) : undefined,
    signal,
  };
}

function exportersOf({ Exporters, ExporterDeprecated, ExporterAttrsDeprecated }: SolveRequest) {
  if (Exporters.length > 0 || ExporterDeprecated === "") return Exporters;
  return [{ Type: ExporterDeprecated, Attrs: ExporterAttrsDeprecated }];
}

function cacheExports({ Cache }: SolveRequest, environment: Environment): readonly CacheExport[] {
  return (Cache?.Exports ?? []).map(({ Type, Attrs: attrs }) =>
    cacheExport(new Map([["type", Type], ...Object.entries(attrs)]), environment),
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

function outputOf(type: string, attrs: Attrs, dest: ClientDestination): Output {
  const map = new Map(Object.entries(attrs));
  const names = attrs["name"] ? attrs["name"].split(",") : [];
  const flag = (key: string): boolean => (map.get(key) === "" ? true : (outputFlag(map, key) ?? false));
  switch (type) {
    case "image": {
      const push = flag("push");
      return { kind: "image", names, push, insecure: flag("registry.insecure"), image: imageOptions(map) };
    }
    case "oci":
    case "docker":
      return { kind: type, names, dest, isTar: map.get("tar") !== "false", image: imageOptions(map) };
    case "local":
    case "tar":
      return { kind: type, dest };
    default:
      throw new BuildError("OUTPUT_INVALID", `exporter "${type}" could not be found`);
  }
}

/** "annotation.KEY", "annotation-index.KEY", "annotation-manifest[linux/amd64].KEY" */
function annotationsOf(attrs: Attrs): Annotation[] {
  return Object.entries(attrs).flatMap(([name, value]): Annotation[] => {
    const [, on = "manifest", platform, key] =
      /^annotation(?:-([a-z-]+))?(?:\[([^\]]*)\])?\.(.+)$/s.exec(name) ?? [];
    if (key === undefined) return [];
    if (on !== "manifest" && on !== "index" && on !== "manifest-descriptor")
      throw new BuildError("ANNOTATION_INVALID", `unrecognized annotation type "${on}"`);
    return [{ on, platform, key, value }];
  });
}
