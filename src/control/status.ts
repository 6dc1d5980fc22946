// A build's events as the messages of Control.Status. Who asks late gets everything from the beginning.
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs, type Timestamp } from "@bufbuild/protobuf/wkt";
import { digestOf, type Digest } from "../lib/index.js";
import type { ProgressEvent } from "../progress/index.js";
import { StatusResponseSchema, type StatusResponse } from "./gen/buildkit/control_pb.js";
import { sourceInfoMessage } from "./llb.js";

type StatusInit = MessageInitShape<typeof StatusResponseSchema>;

/** Events of one build, for any number of listeners. */
export class StatusLog {
  readonly #messages: StatusResponse[] = [];
  readonly #waiting = new Set<() => void>();
  #isClosed = false;

  add(event: ProgressEvent): void {
    this.#messages.push(create(StatusResponseSchema, statusOf(event)));
    this.#wake();
  }

  close(): void {
    this.#isClosed = true;
    this.#wake();
  }

  #wake(): void {
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }

  get messages(): readonly StatusResponse[] {
    return this.#messages;
  }

  /** Everything so far and what comes, until the build has ended. */
  async *follow(signal: AbortSignal): AsyncGenerator<StatusResponse> {
    for (let at = 0; ;) {
      const batch = this.#messages.slice(at);
      at += batch.length;
      if (batch.length > 0) yield merged(batch);
      else if (this.#isClosed || signal.aborted) return;
      else {
        await new Promise<void>((resolve) => {
          this.#waiting.add(resolve);
          signal.addEventListener("abort", () => resolve(), { once: true });
        });
      }
    }
  }
}

/** Many small messages as one. */
function merged(batch: readonly StatusResponse[]): StatusResponse {
  if (batch.length === 1) return batch[0]!;
  return create(StatusResponseSchema, {
    vertexes: batch.flatMap(({ vertexes }) => vertexes),
    statuses: batch.flatMap(({ statuses }) => statuses),
    logs: batch.flatMap(({ logs }) => logs),
    warnings: batch.flatMap(({ warnings }) => warnings),
  });
}

function statusOf(event: ProgressEvent): StatusInit {
  switch (event.kind) {
    case "vertex": {
      const { digest, name, inputs, started, completed, cached, error } = event.vertex;
      const times = { ...time("started", started), ...time("completed", completed) };
      const vertex = { digest: vertexDigest(digest), name, inputs: [...inputs], cached: cached ?? false };
      return { vertexes: [{ ...vertex, ...times, error: error ?? "" }] };
    }
    case "status": {
      const { id, vertex, current, total, started, completed } = event;
      const times = { ...time("started", started), ...time("completed", completed) };
      const counts = { current: BigInt(current), total: BigInt(total) };
      const timestamp = timestampFromMs(completed ?? Date.now());
      return { statuses: [{ ID: id, vertex: vertexDigest(vertex), ...counts, ...times, timestamp }] };
    }
    case "log": {
      const { vertex, stream, data } = event;
      const timestamp = timestampFromMs(event.time);
      return { logs: [{ vertex: vertexDigest(vertex), stream: BigInt(stream), msg: data, timestamp }] };
    }
    case "warning": {
      const { vertex, text, about } = event;
      const level = BigInt(event.level ?? 1);
      const short = Buffer.from(text);
      if (!about) return { warnings: [{ vertex: warned(vertex), level, short }] };
      const detail = about.detail.map((line) => Buffer.from(line));
      const info = sourceInfoMessage(about.source);
      const ranges = about.ranges.map(({ start, end }) => ({ start: { ...start }, end: { ...end } }));
      return {
        warnings: [{ vertex: warned(vertex), level, short, detail, url: about.url, info, ranges }],
      };
    }
  }
}

function time<K extends string>(key: K, ms: number | undefined): { [k in K]?: Timestamp } {
  return (ms === undefined ? {} : { [key]: timestampFromMs(ms) }) as { [k in K]?: Timestamp };
}

function warned(vertex: string): string {
  return vertex === "" ? "" : vertexDigest(vertex);
}

/** Steps that are not ops have ids of another form; clients want digests. */
function vertexDigest(id: string): Digest {
  return id.startsWith("sha256:") ? (id as Digest) : digestOf(id);
}
