// Where traces are passed on to: the collector that OpenTelemetry's environment variables name.
import { connect } from "node:net";
import { create, toBinary } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { messageOf } from "../../lib/index.js";
import {
  ExportTraceServiceRequestSchema,
  TraceService,
  type ResourceSpans,
} from "../gen/opentelemetry/trace_pb.js";

type Environment = Readonly<Record<string, string | undefined>>;
export type SendSpans = (spans: readonly ResourceSpans[]) => Promise<void>;

/** Milliseconds that a collector is given. */
const PATIENCE = 10_000;

/**
 * @param warn told once why spans did not arrive: no build fails for it
 * @returns `undefined` where nobody wants traces
 */
export function collectorOf(env: Environment, warn: (text: string) => void): SendSpans | undefined {
  const own = env["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];
  const endpoint = own || env["OTEL_EXPORTER_OTLP_ENDPOINT"];
  if (!endpoint || env["OTEL_TRACES_EXPORTER"] === "none" || env["OTEL_SDK_DISABLED"] === "true")
    return undefined;
  const protocol = env["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] || env["OTEL_EXPORTER_OTLP_PROTOCOL"] || "grpc";
  const headers = headersOf(
    env["OTEL_EXPORTER_OTLP_TRACES_HEADERS"] || env["OTEL_EXPORTER_OTLP_HEADERS"] || "",
  );
  const send =
    protocol === "grpc"
      ? overGrpc(endpoint, headers)
      : overHttp(own || `${endpoint.replace(/\/$/, "")}/v1/traces`, headers);
  let hasWarned = false;
  return async (spans) => {
    try {
      await send(spans);
    } catch (error) {
      if (!hasWarned) warn(`traces cannot be sent to ${endpoint}: ${messageOf(error)}`);
      hasWarned = true;
    }
  };
}

function overGrpc(endpoint: string, headers: Record<string, string>): SendSpans {
  const [, socket] = /^unix:\/\/(.*)$/.exec(endpoint) ?? [];
  const baseUrl =
    socket !== undefined ? "http://collector" : endpoint.includes("://") ? endpoint : `http://${endpoint}`;
  const nodeOptions = socket === undefined ? {} : { createConnection: () => connect(socket) };
  const client = createClient(TraceService, createGrpcTransport({ baseUrl, nodeOptions }));
  return async (spans) => {
    await client.export({ resourceSpans: [...spans] }, { headers, timeoutMs: PATIENCE });
  };
}

function overHttp(url: string, headers: Record<string, string>): SendSpans {
  return async (spans) => {
    const message = create(ExportTraceServiceRequestSchema, { resourceSpans: [...spans] });
    const answer = await fetch(url, {
      method: "POST",
      headers: { ...headers, "content-type": "application/x-protobuf" },
      body: toBinary(ExportTraceServiceRequestSchema, message),
      signal: AbortSignal.timeout(PATIENCE),
    });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    await answer.arrayBuffer();
  };
}

/** "key=value,key=value", values escaped as in URLs */
function headersOf(text: string): Record<string, string> {
  const fields = text.split(",").flatMap((field) => {
    const [key, value] = field.split(/=(.*)/s);
    return key && value !== undefined ? [[key.trim().toLowerCase(), decodeURIComponent(value.trim())]] : [];
  });
  return Object.fromEntries(fields) as Record<string, string>;
}
