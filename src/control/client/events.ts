// The messages of Control.Status as events: the way back of status.ts.
import { create } from "@bufbuild/protobuf";
import { timestampMs, type Timestamp } from "@bufbuild/protobuf/wkt";
import type {
  ProgressEvent,
  ProgressListener,
  ProgressLog,
  ProgressStatus,
  ProgressWarning,
} from "../../progress/index.js";
import {
  StatusResponseSchema,
  type StatusResponse,
  type Vertex,
  type VertexLog,
  type VertexStatus,
  type VertexWarning,
} from "../gen/buildkit/control_pb.js";
import { rangeOf, sourceInfoOf } from "../llb.js";

/** Milliseconds in which what comes is told at once. */
const WINDOW = 100;

/**
 * Daemons tell of a step's end before its last status, and twice of the same: what comes in a short time is one message.
 */
export class StatusBatch {
  readonly #onProgress: ProgressListener;
  #messages: StatusResponse[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(onProgress: ProgressListener) {
    this.#onProgress = onProgress;
  }

  add(message: StatusResponse): void {
    this.#messages.push(message);
    this.#timer ??= setTimeout(() => this.flush(), WINDOW);
  }

  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const messages = this.#messages.splice(0);
    if (messages.length === 0) return;
    const vertexes = new Map(
      messages.flatMap((one) => one.vertexes.map((vertex) => [vertex.digest, vertex])),
    );
    const statuses = new Map(
      messages.flatMap((one) => one.statuses.map((status) => [`${status.vertex} ${status.ID}`, status])),
    );
    const merged = create(StatusResponseSchema, {
      vertexes: [...vertexes.values()],
      statuses: [...statuses.values()],
      logs: messages.flatMap(({ logs }) => logs),
      warnings: messages.flatMap(({ warnings }) => warnings),
    });
    for (const event of eventsOf(merged)) this.#onProgress(event);
  }
}

/** A step after another, each from its beginning to its end; those that only will be are left out. */
function* eventsOf({ vertexes, statuses, logs, warnings }: StatusResponse): Generator<ProgressEvent> {
  const startOf = ({ started }: Vertex): number => (started ? timestampMs(started) : 0);
  const told = vertexes.filter(({ started }) => started).sort((a, b) => startOf(a) - startOf(b));
  const parts = new Map<string, ProgressEvent[]>();
  for (const event of [...statuses.map(statusEvent), ...logs.map(logEvent)]) {
    const known = parts.get(event.vertex);
    if (known) known.push(event);
    else parts.set(event.vertex, [event]);
  }
  for (const { digest, name, inputs, cached, started, completed, error } of told) {
    const begun = { digest, name, inputs, ...time("started", started) };
    yield { kind: "vertex", vertex: begun };
    yield* parts.get(digest) ?? [];
    parts.delete(digest);
    const end = { cached, ...time("completed", completed), ...(error !== "" && { error }) };
    if (completed) yield { kind: "vertex", vertex: { ...begun, ...end } };
  }
  for (const events of parts.values()) yield* events;
  yield* warnings.map(warningEvent);
}

function statusEvent({ ID, vertex, current, total, started, completed }: VertexStatus): ProgressStatus {
  const counts = { current: Number(current), total: Number(total) };
  const begun = started ? timestampMs(started) : Date.now();
  return { kind: "status", vertex, id: ID, ...counts, started: begun, ...time("completed", completed) };
}

function logEvent({ vertex, stream, msg, timestamp }: VertexLog): ProgressLog {
  const at = timestamp ? timestampMs(timestamp) : Date.now();
  return { kind: "log", vertex, stream: stream === 2n ? 2 : 1, data: msg, time: at };
}

function warningEvent({ vertex, level, short, detail, url, info, ranges }: VertexWarning): ProgressWarning {
  const base = {
    kind: "warning",
    vertex,
    text: Buffer.from(short).toString(),
    level: Number(level),
  } as const;
  if (!info) return base;
  const about = {
    detail: detail.map((line) => Buffer.from(line).toString()),
    url,
    source: sourceInfoOf(info),
    ranges: ranges.map(rangeOf),
  };
  return { ...base, about };
}

function time<K extends string>(key: K, at: Timestamp | undefined): { [k in K]?: number } {
  return (at ? { [key]: timestampMs(at) } : {}) as { [k in K]?: number };
}
