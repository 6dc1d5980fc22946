// Errors as gRPC statuses, with BuildKit's details: clients print the lines of a Dockerfile from them.
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { SourceError } from "../frontend/index.js";
import { BuildError, codeOf, messageOf } from "../lib/index.js";
import { SourceSchema, VertexSchema } from "./gen/buildkit/errdefs_pb.js";
import { PositionSchema, RangeSchema, SourceInfoSchema } from "./gen/buildkit/ops_pb.js";

const CODES: Readonly<Record<string, Code>> = {
  CANCELED: Code.Canceled,
  CLIENT_GONE: Code.Canceled,
  NOT_ALLOWED: Code.PermissionDenied,
  DOCKERFILE_INVALID: Code.Unknown,
  FILE_MISSING: Code.NotFound,
  FILTER_INVALID: Code.InvalidArgument,
  LLB_INVALID: Code.InvalidArgument,
};

/** @param step the digest of the step that failed */
export function statusError(error: unknown, step?: string): ConnectError {
  if (error instanceof ConnectError) return error;
  const code = CODES[codeOf(error) ?? ""] ?? Code.Unknown;
  const status = new ConnectError(messageOf(error), code, undefined, undefined, error);
  const details: ConnectError["details"] = [];
  if (step !== undefined) details.push({ desc: VertexSchema, value: create(VertexSchema, { digest: step }) });
  if (error instanceof SourceError && error.file) {
    const { filename, data } = error.file;
    const info = create(SourceInfoSchema, { filename, data, language: "Dockerfile" });
    for (const places of error.places) {
      const ranges = places.map(({ start, end }) =>
        create(RangeSchema, {
          start: create(PositionSchema, { ...start }),
          end: create(PositionSchema, { ...end }),
        }),
      );
      details.push({ desc: SourceSchema, value: create(SourceSchema, { info, ranges }) });
    }
  }
  status.details = details;
  return status;
}

/** A request that makes no sense. */
export function badRequest(problem: string): ConnectError {
  return new ConnectError(problem, Code.InvalidArgument);
}

export function canceled(): BuildError {
  return new BuildError("CANCELED", "context canceled");
}
