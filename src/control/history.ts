// Builds that run and have been: a record for each, its log and what else belongs to it, and who listens to what
// changes. What a client passed as a secret never gets here.
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import type { Descriptor as ContentDescriptor } from "../content/index.js";
import type { Predicate } from "../exporter/index.js";
import { goJson, isDigest, type Digest } from "../lib/index.js";
import {
  BuildHistoryEventSchema,
  BuildHistoryEventType,
  BuildHistoryRecordSchema,
  BuildResultInfoSchema,
  DescriptorSchema,
  StatusResponseSchema,
  type BuildHistoryEvent,
  type BuildHistoryRecord,
  type Descriptor,
  type SolveRequest,
  type StatusResponse,
} from "./gen/buildkit/control_pb.js";
import { StatusSchema, type Status } from "./gen/google/rpc/status_pb.js";
import { HistoryStore } from "./history-store.js";
import { TRACE_TYPE } from "./traces/span-json.js";
import type { HistoryLimits } from "./types.js";
import { redactAttrs } from "./redact.js";

/** Records that are kept in all, however young. */
const MAX_RECORDS = 1000;
/** BuildKit's word, its slip included. */
const ERROR_TYPE = "application/vnd.googeapis.google.rpc.status+proto";
const LOG_TYPE = "application/vnd.buildkit.status.v0";

/** BuildKit's: two days, or the last fifty. */
export const HISTORY_LIMITS: HistoryLimits = { maxAge: 48 * 3600_000, maxEntries: 50 };

/** What is known of a build when it has ended. */
export interface BuildEnd {
  readonly error: Status | undefined;
  readonly response: Readonly<Record<string, string>>;
  /** images, in order of the outputs */
  readonly exported: readonly ContentDescriptor[];
  readonly log: readonly StatusResponse[];
  /** what it was made from: provenance of each platform, by its type */
  readonly predicates: readonly Predicate[];
}

export interface HistoryQuery {
  readonly ref: string;
  readonly activeOnly: boolean;
  /** what there is, without what comes */
  readonly earlyExit: boolean;
  /** 0: all */
  readonly limit: number;
  readonly matches: (record: BuildHistoryRecord) => boolean;
}

type Listener = (event: BuildHistoryEvent) => void;

export class History {
  readonly #store: HistoryStore;
  readonly #limits: HistoryLimits;
  readonly #active = new Map<string, BuildHistoryRecord>();
  readonly #listeners = new Set<Listener>();
  #generation = 0;

  /** @param folder of its own @throws BuildError HISTORY_LOCKED */
  constructor(folder: string, limits: Partial<HistoryLimits> = {}) {
    this.#store = new HistoryStore(folder);
    this.#limits = { ...HISTORY_LIMITS, ...limits };
  }

  close(): void {
    this.#store.close();
  }

  begin({ Ref, Frontend, FrontendAttrs, Exporters }: SolveRequest): void {
    const record = create(BuildHistoryRecordSchema, {
      Ref,
      Frontend,
      FrontendAttrs: redactAttrs(FrontendAttrs),
      Exporters: Exporters.map((exporter) => ({ Type: exporter.Type, Attrs: redactAttrs(exporter.Attrs) })),
      CreatedAt: timestampFromMs(Date.now()),
      Generation: ++this.#generation,
    });
    this.#active.set(Ref, record);
    this.#tell(BuildHistoryEventType.STARTED, record);
  }

  end(ref: string, { error, response, exported, log, predicates }: BuildEnd): void {
    const record = this.#active.get(ref);
    if (!record) return;
    this.#active.delete(ref);
    record.CompletedAt = timestampFromMs(Date.now());
    record.ExporterResponse = { ...response };
    if (error) Object.assign(record, this.#writeError(error));
    record.logs = this.#writeLog(log);
    Object.assign(record, countSteps(log));
    const results = exported.map(({ mediaType, digest, size }) =>
      create(DescriptorSchema, { mediaType, digest, size: BigInt(size) }),
    );
    record.Result = create(BuildResultInfoSchema, {
      ...(results[0] && { ResultDeprecated: results[0] }),
      Results: Object.fromEntries(results.map((result, i) => [String(i), result])),
      Attestations: predicates.map((predicate) => this.#writePredicate(predicate)),
    });
    this.#store.put(record);
    this.#tell(BuildHistoryEventType.COMPLETE, record);
    this.#collect();
  }

  /** @param lines a span each */
  setTrace(ref: string, lines: string): void {
    const record = this.#store.get(ref);
    if (record) this.#store.put({ ...record, trace: this.#store.write(TRACE_TYPE, Buffer.from(lines)) });
  }

  /** The record has what it says; all there is to know is a blob. */
  #writeError(error: Status): Pick<BuildHistoryRecord, "error" | "externalError"> {
    const data = toBinary(StatusSchema, error);
    return {
      error: create(StatusSchema, { code: error.code, message: error.message }),
      externalError: this.#store.write(ERROR_TYPE, Buffer.from(data)),
    };
  }

  #writePredicate({ type, value }: Predicate): Descriptor {
    const annotations = { "in-toto.io/predicate-type": type };
    return { ...this.#store.write("application/vnd.in-toto+json", Buffer.from(goJson(value))), annotations };
  }

  /** As BuildKit writes it: every message after its length, four bytes, lowest first. */
  #writeLog(log: readonly StatusResponse[]): Descriptor {
    const parts = log.flatMap((message) => {
      const data = toBinary(StatusResponseSchema, message);
      const length = Buffer.alloc(4);
      length.writeUInt32LE(data.length);
      return [length, data];
    });
    return this.#store.write(LOG_TYPE, Buffer.concat(parts));
  }

  /** The messages of a build that has ended; `undefined` if there is none. */
  log(ref: string): readonly StatusResponse[] | undefined {
    const digest = this.#store.get(ref)?.logs?.digest;
    const data = digest !== undefined && isDigest(digest) ? this.blob(digest) : undefined;
    if (!data) return undefined;
    const messages: StatusResponse[] = [];
    for (let at = 0; at < data.length;) {
      const length = data.readUInt32LE(at);
      messages.push(fromBinary(StatusResponseSchema, data.subarray(at + 4, at + 4 + length)));
      at += 4 + length;
    }
    return messages;
  }

  blob(digest: Digest): Buffer | undefined {
    return this.#store.blob(digest);
  }

  blobs(): readonly Digest[] {
    return this.#store.blobs();
  }

  /** Records as they are, then as they change. */
  async *listen(query: HistoryQuery, signal: AbortSignal): AsyncGenerator<BuildHistoryEvent> {
    const wanted = (event: BuildHistoryEvent): boolean =>
      (query.ref === "" || event.record!.Ref === query.ref) &&
      query.matches(event.record!) &&
      (!query.activeOnly || event.type !== BuildHistoryEventType.COMPLETE || known.has(event.record!.Ref));
    const known = new Set<string>();
    const queue: BuildHistoryEvent[] = this.#existing(query);
    for (const event of queue) known.add(event.record!.Ref);
    let wake = (): void => undefined;
    const listener = (event: BuildHistoryEvent): void => {
      queue.push(event);
      wake();
    };
    if (!query.earlyExit) this.#listeners.add(listener);
    const aborted = (): void => wake();
    signal.addEventListener("abort", aborted, { once: true });
    try {
      for (;;) {
        const event = queue.shift();
        if (event && wanted(event)) yield event;
        else if (!event && (query.earlyExit || signal.aborted)) return;
        else if (!event) await new Promise<void>((resolve) => (wake = resolve));
      }
    } finally {
      this.#listeners.delete(listener);
      signal.removeEventListener("abort", aborted);
    }
  }

  #existing({ activeOnly, limit, ref, matches }: HistoryQuery): BuildHistoryEvent[] {
    const ended = activeOnly ? [] : this.#ended().filter((record) => ref === "" || record.Ref === ref);
    const events = [
      ...ended.map((record) => ({ type: BuildHistoryEventType.COMPLETE, record })),
      ...[...this.#active.values()].map((record) => ({ type: BuildHistoryEventType.STARTED, record })),
    ].filter(({ record }) => matches(record));
    return (limit > 0 ? events.slice(-limit) : events).map((event) => create(BuildHistoryEventSchema, event));
  }

  /** Oldest first. */
  #ended(): BuildHistoryRecord[] {
    return this.#store.all().sort((a, b) => timestampMs(a.CreatedAt!) - timestampMs(b.CreatedAt!));
  }

  pin(ref: string, pinned: boolean): boolean {
    const record = this.#store.get(ref);
    if (record) this.#store.put({ ...record, pinned });
    return record !== undefined;
  }

  /** @returns whether there was one */
  delete(ref: string): boolean {
    const record = this.#store.remove(ref);
    if (record) this.#tell(BuildHistoryEventType.DELETED, record);
    return record !== undefined;
  }

  #collect(): void {
    const records = this.#ended().filter(({ pinned }) => !pinned);
    const surplus = records.slice(0, Math.max(0, records.length - this.#limits.maxEntries));
    const tooMany = records.length - MAX_RECORDS;
    for (const [index, { Ref, CompletedAt }] of surplus.entries())
      if (index < tooMany || Date.now() - timestampMs(CompletedAt!) > this.#limits.maxAge) this.delete(Ref);
  }

  #tell(type: BuildHistoryEventType, record: BuildHistoryRecord): void {
    for (const listener of this.#listeners) listener(create(BuildHistoryEventSchema, { type, record }));
  }
}

function countSteps(log: readonly StatusResponse[]) {
  const steps = new Map(log.flatMap(({ vertexes }) => vertexes).map((vertex) => [vertex.digest, vertex]));
  const vertices = [...steps.values()];
  return {
    numTotalSteps: vertices.length,
    numCachedSteps: vertices.filter(({ cached }) => cached).length,
    numCompletedSteps: vertices.filter(({ completed }) => completed !== undefined).length,
    numWarnings: log.reduce((sum, { warnings }) => sum + warnings.length, 0),
  };
}
