// What a daemon says went wrong: the way back of errors.ts.
import { fromBinary } from "@bufbuild/protobuf";
import { Code, ConnectError, decodeBinaryHeader } from "@connectrpc/connect";
import { SourceError } from "../../frontend/index.js";
import { BuildError } from "../../lib/index.js";
import type { Range } from "../../llb/index.js";
import { SourceSchema } from "../gen/buildkit/errdefs_pb.js";
import { StatusSchema, type Status } from "../gen/google/rpc/status_pb.js";
import { DETAILS } from "../grpc.js";
import { rangeOf } from "../llb.js";

/** The error as the message in which it came. */
export function statusOf(error: ConnectError): Status | undefined {
  const header = error.metadata.get(DETAILS);
  return header === null ? undefined : decodeBinaryHeader(header, StatusSchema);
}

interface Place {
  readonly file: { readonly filename: string; readonly data: Uint8Array };
  readonly ranges: readonly Range[];
}

/** @returns a BuildError with the daemon's words, a SourceError where it names lines of a Dockerfile */
export function failureOf(error: unknown): unknown {
  if (!(error instanceof ConnectError)) return error;
  // the outermost comes last
  const places = [...(statusOf(error)?.details ?? [])].reverse().flatMap(({ typeUrl, value }): Place[] => {
    if (!/errdefs\.Source(\+json)?$/.test(typeUrl)) return [];
    return [typeUrl.endsWith("+json") ? fromJson(value) : fromMessage(value)];
  });
  const { code, rawMessage } = error;
  if (places.length === 0) {
    const known = code === Code.Canceled ? "CANCELED" : "REMOTE_FAILED";
    return new BuildError(known, rawMessage, { cause: error });
  }
  const located = new SourceError(
    rawMessage,
    places.map(({ ranges }) => ranges),
    error,
  );
  located.file = places[0]!.file;
  return located;
}

function fromMessage(value: Uint8Array): Place {
  const { info, ranges } = fromBinary(SourceSchema, value);
  const file = { filename: info?.filename ?? "", data: info?.data ?? new Uint8Array() };
  return { file, ranges: ranges.map(rangeOf) };
}

interface SourceJson {
  readonly info?: { readonly filename?: string; readonly data?: string };
  readonly ranges?: readonly {
    readonly start?: Partial<Range["start"]>;
    readonly end?: Partial<Range["end"]>;
  }[];
}

function fromJson(value: Uint8Array): Place {
  const { info = {}, ranges = [] } = JSON.parse(Buffer.from(value).toString()) as SourceJson;
  const position = ({ line = 0, character = 0 }: Partial<Range["start"]> = {}) => ({ line, character });
  return {
    file: { filename: info.filename ?? "", data: Buffer.from(info.data ?? "", "base64") },
    ranges: ranges.map(({ start, end }) => ({ start: position(start), end: position(end) })),
  };
}
