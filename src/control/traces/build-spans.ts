// A build as spans: itself, its steps, and what its steps tell of their parts.
import { randomBytes } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { StatusResponse } from "../gen/buildkit/control_pb.js";
import {
  KeyValueSchema,
  ResourceSpansSchema,
  type KeyValue,
  type ResourceSpans,
  SpanSchema,
  SpanStatusSchema,
  type Span,
  type SpanStatus,
} from "../gen/opentelemetry/trace_pb.js";

/** Kinds of spans and codes of their status (OpenTelemetry's numbers). */
const [INTERNAL, SERVER] = [1, 2];
const FAILED = 2;

export const SCOPE = "bluekilnd";

/** Where a build stands in somebody's trace. */
export interface TraceContext {
  readonly traceId: Buffer;
  /** of the client's span that asked for the build; empty: nobody's */
  readonly parentId: Buffer;
}

/** @param header W3C's traceparent; a trace of its own without one that can be read */
export function traceContext(header: string | null): TraceContext {
  const [, trace, parent] =
    /^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}$/.exec(header ?? "") ?? [];
  if (trace === undefined || /^0+$/.test(trace))
    return { traceId: randomBytes(16), parentId: Buffer.alloc(0) };
  return { traceId: Buffer.from(trace, "hex"), parentId: Buffer.from(parent!, "hex") };
}

export interface BuildTimes {
  readonly ref: string;
  /** milliseconds since 1970 */
  readonly startedAt: number;
  readonly endedAt: number;
  readonly error: string | undefined;
}

export function buildSpans(
  { traceId, parentId }: TraceContext,
  { ref, startedAt, endedAt, error }: BuildTimes,
  log: readonly StatusResponse[],
): ResourceSpans {
  const rootId = newId();
  const spans = [
    create(SpanSchema, {
      traceId,
      spanId: rootId,
      parentSpanId: parentId,
      name: "moby.buildkit.v1.Control/Solve",
      kind: SERVER,
      startTimeUnixNano: nanoseconds(startedAt),
      endTimeUnixNano: nanoseconds(endedAt),
      attributes: [text("build.ref", ref)],
      ...failed(error),
    }),
  ];
  const part = (parentSpanId: Buffer, name: string, started: Timestamp, completed: Timestamp): Span => {
    const times = { startTimeUnixNano: nanos(started), endTimeUnixNano: nanos(completed) };
    const span = create(SpanSchema, {
      traceId,
      spanId: newId(),
      parentSpanId,
      name,
      kind: INTERNAL,
      ...times,
    });
    spans.push(span);
    return span;
  };
  const ids = new Map<string, Buffer>();
  for (const { digest, name, started, completed, cached, error: problem } of latest(log)) {
    if (!started) continue;
    const span = part(rootId, name, started, completed ?? started);
    span.attributes = [text("vertex", digest), ...(cached ? [flag("cached")] : [])];
    Object.assign(span, failed(problem));
    ids.set(digest, Buffer.from(span.spanId));
  }
  const parts = new Map(
    log.flatMap(({ statuses }) => statuses).map((status) => [`${status.vertex} ${status.ID}`, status]),
  );
  for (const { vertex, ID, started, completed } of parts.values())
    if (started && completed) part(ids.get(vertex) ?? rootId, ID, started, completed);
  return create(ResourceSpansSchema, {
    resource: { attributes: [text("service.name", SCOPE)] },
    scopeSpans: [{ scope: { name: SCOPE }, spans }],
  });
}

/** Steps as they were told last. */
function latest(log: readonly StatusResponse[]) {
  const steps = log.flatMap(({ vertexes }) => vertexes);
  return new Map(steps.map((vertex) => [vertex.digest, vertex])).values();
}

function newId(): Buffer {
  return randomBytes(8);
}

function text(key: string, value: string): KeyValue {
  return create(KeyValueSchema, { key, value: { value: { case: "stringValue", value } } });
}

function flag(key: string): KeyValue {
  return create(KeyValueSchema, { key, value: { value: { case: "boolValue", value: true } } });
}

function failed(error: string | undefined): { status?: SpanStatus } {
  return error ? { status: create(SpanStatusSchema, { code: FAILED, message: error }) } : {};
}

function nanos({ seconds, nanos: rest }: Timestamp): bigint {
  return seconds * 1_000_000_000n + BigInt(rest);
}

function nanoseconds(milliseconds: number): bigint {
  return BigInt(Math.round(milliseconds)) * 1_000_000n;
}
