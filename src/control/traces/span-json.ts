// Spans as BuildKit keeps them with a build's record: a line of JSON for each, in the words of OpenTelemetry's Go library.
// Source of the format: what `docker buildx history trace` reads.
import type {
  AnyValue,
  InstrumentationScope,
  KeyValue,
  ResourceSpans,
  Span,
} from "../gen/opentelemetry/trace_pb.js";

export const TRACE_TYPE = "application/vnd.buildkit.otlp.json.v0";

const STATUS = ["Unset", "Ok", "Error"];
const NO_SPAN = "0".repeat(16);

export function traceLines(all: readonly ResourceSpans[]): string {
  return all
    .flatMap(({ resource, scopeSpans }) =>
      scopeSpans.flatMap(({ scope, spans }) =>
        spans.map((span) => `${JSON.stringify(spanJson(span, resource?.attributes ?? [], scope))}\n`),
      ),
    )
    .join("");
}

function spanJson(
  span: Span,
  resource: readonly KeyValue[],
  scope: InstrumentationScope | undefined,
): object {
  const library = { Name: scope?.name ?? "", Version: scope?.version ?? "", SchemaURL: "" };
  const { code = 0, message = "" } = span.status ?? {};
  return {
    Name: span.name,
    SpanContext: context(span.traceId, span.spanId, span.traceState, false),
    Parent: context(span.traceId, span.parentSpanId, "", span.parentSpanId.length > 0),
    SpanKind: span.kind,
    StartTime: time(span.startTimeUnixNano),
    EndTime: time(span.endTimeUnixNano),
    Attributes: attributes(span.attributes),
    Events: orNull(
      span.events.map((event) => ({
        Name: event.name,
        Attributes: attributes(event.attributes),
        DroppedAttributeCount: event.droppedAttributesCount,
        Time: time(event.timeUnixNano),
      })),
    ),
    Links: orNull(
      span.links.map((link) => ({
        SpanContext: context(link.traceId, link.spanId, link.traceState, true),
        Attributes: attributes(link.attributes),
        DroppedAttributeCount: link.droppedAttributesCount,
      })),
    ),
    Status: { Code: STATUS[code] ?? "Unset", Description: message },
    DroppedAttributes: span.droppedAttributesCount,
    DroppedEvents: span.droppedEventsCount,
    DroppedLinks: span.droppedLinksCount,
    ChildSpanCount: 0,
    Resource: attributes(resource),
    InstrumentationLibrary: library,
    InstrumentationScope: library,
  };
}

function context(traceId: Uint8Array, spanId: Uint8Array, state: string, isRemote: boolean): object {
  const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
  const id = spanId.length === 0 ? NO_SPAN : hex(spanId);
  return { TraceID: hex(traceId), SpanID: id, TraceFlags: "01", TraceState: state, Remote: isRemote };
}

function attributes(list: readonly KeyValue[]): object[] | null {
  return orNull(list.map(({ key, value }) => ({ Key: key, Value: valueJson(value) })));
}

function valueJson(value: AnyValue | undefined): { Type: string; Value: unknown } {
  const one = value?.value;
  switch (one?.case) {
    case "boolValue":
      return { Type: "BOOL", Value: one.value };
    case "intValue":
      return { Type: "INT64", Value: Number(one.value) };
    case "doubleValue":
      return { Type: "FLOAT64", Value: one.value };
    case "arrayValue": {
      const items = one.value.values.map(valueJson);
      return { Type: `${items[0]?.Type ?? "STRING"}SLICE`, Value: items.map((item) => item.Value) };
    }
    case "stringValue":
      return { Type: "STRING", Value: one.value };
    default:
      return { Type: "STRING", Value: "" };
  }
}

function orNull<T>(list: T[]): T[] | null {
  return list.length > 0 ? list : null;
}

/** With nanoseconds, as Go writes it. */
function time(nanoseconds: bigint): string {
  const seconds = new Date(Number(nanoseconds / 1_000_000_000n) * 1000).toISOString().slice(0, 19);
  const rest = String(nanoseconds % 1_000_000_000n)
    .padStart(9, "0")
    .replace(/0+$/, "");
  return `${seconds}${rest === "" ? "" : `.${rest}`}Z`;
}
