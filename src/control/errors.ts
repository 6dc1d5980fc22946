// Errors as gRPC statuses, with BuildKit's details: clients print the lines of a Dockerfile from them. BuildKit names
// details by its own URLs and writes them as JSON, which no library does: the trailer is made here.
import { create, toBinary, toJson, type MessageInitShape } from "@bufbuild/protobuf";
import { AnySchema, type Any } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, encodeBinaryHeader } from "@connectrpc/connect";
import { SourceError } from "../frontend/index.js";
import { codeOf, messageOf } from "../lib/index.js";
import { ExitError } from "../op/index.js";
import type { Range, SourceInfo } from "../llb/index.js";
import { SolveSchema } from "./gen/buildkit/errdefs_pb.js";
import { StatusSchema, type Status } from "./gen/google/rpc/status_pb.js";
import { codeOf as statusCode } from "./grpc.js";
import { definitionMessage } from "./llb.js";

const CODES: Readonly<Record<string, Code>> = {
  CANCELED: Code.Canceled,
  CLIENT_GONE: Code.Canceled,
  FILTER_INVALID: Code.InvalidArgument,
};

/** Where in a source a step that failed was written. */
export interface Place {
  readonly info: SourceInfo;
  readonly ranges: readonly Range[];
}

/** What is known of an error besides its message. */
export interface About {
  /** the digest of the step that failed */
  readonly step?: string | undefined;
  /** where it was written, as its graph lists the places, if the error does not say itself */
  readonly places?: readonly Place[];
  /** what frontends may look into */
  readonly solve?: MessageInitShape<typeof SolveSchema> | undefined;
}

/** Details are in the order of BuildKit, which wraps an error in one after the other: the last first. */
export function statusError(error: unknown, { step, places = [], solve }: About = {}): ConnectError {
  if (error instanceof ConnectError) return error;
  const details: Any[] = [];
  if (solve) details.push(detail("errdefs.Solve", toJson(SolveSchema, create(SolveSchema, solve))));
  for (const { info, ranges } of [...placesOf(error), ...places].reverse())
    details.push(detail("errdefs.Source", { info: infoJson(info), ranges: ranges.map(rangeJson) }));
  if (step !== undefined) details.push(detail("errdefs.Vertex", { digest: step }));
  const exit = exitOf(error);
  if (exit) details.push(detail("gatewayapi.ExitMessage", { Code: exit.exitCode }));
  return withDetails(messageOf(error), CODES[codeOf(error) ?? ""] ?? Code.Unknown, details, error);
}

function exitOf(error: unknown): ExitError | undefined {
  if (error instanceof ExitError) return error;
  return error instanceof Error && error.cause !== undefined ? exitOf(error.cause) : undefined;
}

function placesOf(error: unknown): Place[] {
  if (!(error instanceof SourceError) || !error.file) return [];
  const info = { ...error.file, language: "Dockerfile" };
  return error.places.map((ranges) => ({ info, ranges }));
}

function infoJson({ filename, data, language, definition }: SourceInfo): object {
  const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");
  return {
    filename,
    data: base64(data),
    ...(definition && { definition: { def: definitionMessage(definition).def.map(base64) } }),
    language,
  };
}

/** An error that a client's frontend returned, as it is. */
export function returnedError({ message, code, details }: Status): ConnectError {
  return withDetails(message, statusCode(code), details);
}

/** The error as the message that clients know. */
export function statusOf(error: ConnectError): Status {
  const known = DETAILS.get(error) ?? [];
  return create(StatusSchema, { code: error.code, message: error.rawMessage, details: [...known] });
}

const DETAILS = new WeakMap<ConnectError, readonly Any[]>();

function withDetails(message: string, code: Code, details: readonly Any[], cause?: unknown): ConnectError {
  const error = new ConnectError(message, code, undefined, undefined, cause);
  DETAILS.set(error, details);
  if (details.length === 0) return error;
  const status = toBinary(StatusSchema, create(StatusSchema, { code, message, details: [...details] }));
  error.metadata.set("grpc-status-details-bin", encodeBinaryHeader(status));
  return error;
}

function detail(name: string, value: unknown): Any {
  const typeUrl = `github.com/moby/buildkit/${name}+json`;
  return create(AnySchema, { typeUrl, value: Buffer.from(JSON.stringify(value)) });
}

/** Zeroes are left out, as Go does. */
function rangeJson({ start, end }: Range): object {
  const position = ({ line, character }: Range["start"]): object => ({
    ...(line !== 0 && { line }),
    ...(character !== 0 && { character }),
  });
  return { start: position(start), end: position(end) };
}

/** A request that makes no sense. */
export function badRequest(problem: string): ConnectError {
  return new ConnectError(problem, Code.InvalidArgument);
}
