// Errors as gRPC statuses, with BuildKit's details: clients print the lines of a Dockerfile from them. BuildKit names
// details by its own URLs and writes them as JSON, which no library does: the trailer is made here.
import { create, toBinary } from "@bufbuild/protobuf";
import { AnySchema, type Any } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, encodeBinaryHeader } from "@connectrpc/connect";
import { SourceError } from "../frontend/index.js";
import { codeOf, messageOf } from "../lib/index.js";
import type { Range, SourceInfo } from "../llb/index.js";
import { StatusSchema, type Status } from "./gen/google/rpc/status_pb.js";
import { codeOf as statusCode } from "./grpc.js";
import { definitionMessage } from "./llb.js";

const CODES: Readonly<Record<string, Code>> = {
  CANCELED: Code.Canceled,
  CLIENT_GONE: Code.Canceled,
  NOT_ALLOWED: Code.PermissionDenied,
  FILTER_INVALID: Code.InvalidArgument,
  LLB_INVALID: Code.InvalidArgument,
};

/** Where in a source a step that failed was written. */
export interface Place {
  readonly info: SourceInfo;
  readonly ranges: readonly Range[];
}

/**
 * @param step the digest of the step that failed
 * @param places where it was written, innermost first, if the error does not say itself
 */
export function statusError(error: unknown, step?: string, places: readonly Place[] = []): ConnectError {
  if (error instanceof ConnectError) return error;
  const details: Any[] = [];
  if (step !== undefined) details.push(detail("errdefs.Vertex", { digest: step }));
  for (const { info, ranges } of [...placesOf(error), ...places])
    details.push(detail("errdefs.Source", { info: infoJson(info), ranges: ranges.map(rangeJson) }));
  return withDetails(messageOf(error), CODES[codeOf(error) ?? ""] ?? Code.Unknown, details, error);
}

/** Clients wrap the error in one detail after another: the innermost comes first. */
function placesOf(error: unknown): Place[] {
  if (!(error instanceof SourceError) || !error.file) return [];
  const info = { ...error.file, language: "Dockerfile" };
  return [...error.places].reverse().map((ranges) => ({ info, ranges }));
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

function detail(name: string, value: object): Any {
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
