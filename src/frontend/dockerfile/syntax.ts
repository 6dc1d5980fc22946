// "# syntax=IMAGE": the official Dockerfile frontends are this one, whatever their version up to the one we follow.
import { messageOf } from "../../lib/index.js";
import { formatReference, parseReference, withDefaultTag } from "../../registry/index.js";
import type { FrontendRequest } from "../types.js";
import type { ParsedDockerfile } from "./parser/index.js";
import { SourceError } from "./source-error.js";

/** The newest version of docker/dockerfile whose language is known here: that of the recordings' BuildKit. */
const NEWEST = [1, 25] as const;
const OFFICIAL = /^docker\.io\/docker\/dockerfile(-upstream)?(:|@|$)/;

/** A Dockerfile that is for a frontend of its own: who can run images may run it. */
export class FrontendImageError extends SourceError {
  readonly image: string;
  /** what the syntax line says */
  readonly commandLine: string;

  constructor(image: string, commandLine: string, places: SourceError["places"]) {
    super(
      `frontend image ${image} is not supported: only docker/dockerfile is, which is built in; leave the syntax line out`,
      places,
    );
    this.image = image;
    this.commandLine = commandLine;
  }
}

/** @throws SourceError for a frontend that this one cannot stand in for */
export function checkSyntax({ buildArgs }: FrontendRequest, { directives }: ParsedDockerfile): void {
  const directive = directives.get("syntax");
  const given = buildArgs["BUILDKIT_SYNTAX"];
  const image = (given ?? directive?.value ?? "").trim().split(/\s+/)[0]!;
  if (image === "") return;
  const places = given === undefined && directive ? [[directive.range]] : [];
  let name: string;
  let tag: string | undefined;
  try {
    const reference = withDefaultTag(parseReference(image));
    name = formatReference(reference);
    tag = reference.tag;
  } catch (error) {
    throw new SourceError(
      `failed to parse frontend image ${JSON.stringify(image)}: ${messageOf(error)}`,
      places,
    );
  }
  if (!OFFICIAL.test(name))
    throw new FrontendImageError(image, (given ?? directive?.value ?? "").trim(), places);
  const version = /^(\d+)(?:\.(\d+))?/.exec(tag ?? "");
  if (!version) return;
  const [major, minor] = [Number(version[1]), Number(version[2] ?? 0)];
  if (major < NEWEST[0] || (major === NEWEST[0] && minor <= NEWEST[1])) return;
  throw new SourceError(
    `frontend image ${image} is newer than the Dockerfile language known here (${NEWEST.join(".")}); use docker/dockerfile:1`,
    places,
  );
}
