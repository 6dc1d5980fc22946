// Traces of builds: what clients send of theirs, and the daemon's own spans. They are passed on to a collector, and kept
// with the build's record.
import type { ServiceImpl } from "@connectrpc/connect";
import type { StatusResponse } from "../gen/buildkit/control_pb.js";
import type { ResourceSpans, TraceService } from "../gen/opentelemetry/trace_pb.js";
import { buildSpans, traceContext, type BuildTimes } from "./build-spans.js";
import type { SendSpans } from "./collector.js";
import { traceLines } from "./span-json.js";

/** Milliseconds that a client's last spans are waited for: it sends them when its build has ended. */
const AFTERWARDS = 3000;
/** Spans of one build that are kept. */
const MAX_SPANS = 10_000;

/** A build's trace while it runs, and shortly after. */
interface Open {
  readonly id: string;
  readonly context: ReturnType<typeof traceContext>;
  readonly startedAt: number;
  readonly spans: ResourceSpans[];
  count: number;
  timer?: NodeJS.Timeout;
}

export class Traces {
  readonly #open = new Map<string, Open>();
  readonly #send: SendSpans | undefined;
  readonly #keep: (ref: string, lines: string) => void;

  /**
   * @param send `undefined`: they are passed on to nobody
   * @param keep told of a build's whole trace once
   */
  constructor(send: SendSpans | undefined, keep: (ref: string, lines: string) => void) {
    this.#send = send;
    this.#keep = keep;
  }

  /** @param traceparent the header of the client's request */
  begin(ref: string, traceparent: string | null): void {
    const context = traceContext(traceparent);
    const id = context.traceId.toString("hex");
    this.#open.set(ref, { id, context, startedAt: Date.now(), spans: [], count: 0 });
  }

  end(ref: string, error: string | undefined, log: readonly StatusResponse[]): void {
    const open = this.#open.get(ref);
    if (!open) return;
    const times: BuildTimes = { ref, startedAt: open.startedAt, endedAt: Date.now(), error };
    const own = buildSpans(open.context, times, log);
    open.spans.unshift(own);
    void this.#send?.([own]);
    open.timer = setTimeout(() => this.finalize(ref), AFTERWARDS).unref();
  }

  /** Keeps a trace as it is now. */
  finalize(ref: string): void {
    const open = this.#open.get(ref);
    // a build that runs has no end yet
    if (!open?.timer) return;
    clearTimeout(open.timer);
    this.#open.delete(ref);
    try {
      this.#keep(ref, traceLines(open.spans));
    } catch {
      // a full disk: a trace is worth no failure
    }
  }

  close(): void {
    for (const ref of [...this.#open.keys()]) this.finalize(ref);
  }

  /** OpenTelemetry's service for what clients send. */
  get service(): ServiceImpl<typeof TraceService> {
    return {
      export: ({ resourceSpans }) => {
        for (const one of resourceSpans) this.#take(one);
        void this.#send?.(resourceSpans);
        return {};
      },
    };
  }

  #take(resource: ResourceSpans): void {
    for (const open of this.#open.values()) {
      const scopeSpans = resource.scopeSpans.flatMap((scope) => {
        const spans = scope.spans.filter(({ traceId }) => Buffer.from(traceId).toString("hex") === open.id);
        return spans.length > 0 ? [{ ...scope, spans }] : [];
      });
      const count = scopeSpans.reduce((sum, { spans }) => sum + spans.length, 0);
      if (count === 0 || open.count + count > MAX_SPANS) continue;
      open.count += count;
      open.spans.push({ ...resource, scopeSpans });
    }
  }
}
