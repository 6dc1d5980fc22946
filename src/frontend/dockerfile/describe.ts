// Looking at a Dockerfile instead of building it: what the linter says, what can be set, which targets there are.
import type { Call, Description, FrontendHost, FrontendRequest } from "../types.js";
import { convert, descriptionOf, type ConvertInput } from "./convert/index.js";
import { parseStages } from "./instructions/index.js";
import { Linter } from "./lint/index.js";
import { aboutSource, linterFor, loadDockerfile } from "./load.js";
import { parseDockerfile } from "./parser/index.js";
import { checkSyntax } from "./syntax.js";
import { eachLine } from "./source-error.js";

/** @throws SourceError; a check tells of it instead */
export async function describeDockerfile(
  call: Call,
  request: FrontendRequest,
  host: FrontendHost,
): Promise<Description> {
  const { source, excludes, remoteContext } = await loadDockerfile(request, host);
  let lint = new Linter({ skip: new Set(), experimental: new Set(), error: false });
  try {
    const dockerfile = parseDockerfile(source.data);
    checkSyntax(request, dockerfile);
    if (call === "targets") return { kind: call, source, targets: targetsOf(dockerfile) };
    lint = linterFor(request, dockerfile);
    const { outline } = await convert({
      request,
      host,
      dockerfile,
      excludes,
      remoteContext,
      lint,
      sourceInfo: source,
      // as BuildKit: whatever the platforms of the build would be
      targetPlatform: request.buildPlatform,
      showPlatform: false,
      // a check without a target is about all of them
      allStages: call === "check" && request.target === "",
    });
    if (call === "outline") return { kind: call, source, outline };
    return { kind: call, source, warnings: lint.warnings, error: undefined };
  } catch (error) {
    const located = aboutSource(error, source);
    if (call !== "check") throw located;
    const lines = new Map(
      located.places
        .flat()
        .flatMap(eachLine)
        .map((range) => [range.start.line, range]),
    );
    const ranges = [...lines.values()].sort((a, b) => a.start.line - b.start.line);
    return { kind: call, source, warnings: lint.warnings, error: { message: located.message, ranges } };
  }
}

function targetsOf({ nodes }: ConvertInput["dockerfile"]) {
  const { stages } = parseStages(nodes);
  return stages.map(({ name, comments, baseName, platform, range }, i) => ({
    name,
    description: descriptionOf(comments, name),
    isDefault: i === stages.length - 1,
    base: baseName,
    platform,
    range,
  }));
}
