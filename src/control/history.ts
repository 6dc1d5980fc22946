// Builds that have been: a record for each, and the blobs that belong to it (its log), in a folder of their own. What a
// client passed as a secret never gets here.
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import type { Predicate } from "../exporter/index.js";
import { digestOf, goJson, hexOf, isDigest, type Digest } from "../lib/index.js";
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
import type { Status } from "./gen/google/rpc/status_pb.js";
import { TRACE_TYPE } from "./traces/span-json.js";
import type { HistoryLimits } from "./types.js";
import { redactAttrs } from "./redact.js";

/** Records that are kept in all, however young. */
const MAX_RECORDS = 1000;
const LOG_TYPE = "application/vnd.buildkit.status.v0";

/** BuildKit's: two days, or the last fifty. */
export const HISTORY_LIMITS: HistoryLimits = { maxAge: 48 * 3600_000, maxEntries: 50 };

/** What is known of a build when it has ended. */
export interface BuildEnd {
  readonly error: Status | undefined;
  readonly response: Readonly<Record<string, string>>;
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
  readonly #records: string;
  readonly #blobs: string;
  readonly #limits: HistoryLimits;
  readonly #active = new Map<string, BuildHistoryRecord>();
  readonly #listeners = new Set<Listener>();
  #generation = 0;

  /** @param folder of its own */
  constructor(folder: string, limits: Partial<HistoryLimits> = {}) {
    this.#records = join(folder, "records");
    this.#blobs = join(folder, "blobs");
    this.#limits = { ...HISTORY_LIMITS, ...limits };
    mkdirSync(this.#records, { recursive: true });
    mkdirSync(this.#blobs, { recursive: true });
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

  end(ref: string, { error, response, log, predicates }: BuildEnd): void {
    const record = this.#active.get(ref);
    if (!record) return;
    this.#active.delete(ref);
    record.CompletedAt = timestampFromMs(Date.now());
    record.ExporterResponse = { ...response };
    if (error) record.error = error;
    record.logs = this.#writeLog(log);
    Object.assign(record, countSteps(log));
    const result = resultOf(response);
    record.Result = create(BuildResultInfoSchema, {
      ...(result && { Results: { "0": result } }),
      Attestations: predicates.map((predicate) => this.#writePredicate(predicate)),
    });
    this.#save(record);
    this.#tell(BuildHistoryEventType.COMPLETE, record);
    this.#collect();
  }

  /** @param lines a span each */
  setTrace(ref: string, lines: string): void {
    const record = this.#read(ref);
    if (!record) return;
    record.trace = this.#write(TRACE_TYPE, Buffer.from(lines));
    this.#save(record);
  }

  #writePredicate({ type, value }: Predicate): Descriptor {
    const annotations = { "in-toto.io/predicate-type": type };
    return { ...this.#write("application/vnd.in-toto+json", Buffer.from(goJson(value))), annotations };
  }

  #write(mediaType: string, data: Buffer): Descriptor {
    const digest = digestOf(data);
    writeFileSync(join(this.#blobs, hexOf(digest)), data);
    return create(DescriptorSchema, { mediaType, digest, size: BigInt(data.length) });
  }

  /** As BuildKit writes it: every message after its length, four bytes, lowest first. */
  #writeLog(log: readonly StatusResponse[]): Descriptor {
    const parts = log.flatMap((message) => {
      const data = toBinary(StatusResponseSchema, message);
      const length = Buffer.alloc(4);
      length.writeUInt32LE(data.length);
      return [length, data];
    });
    return this.#write(LOG_TYPE, Buffer.concat(parts));
  }

  /** The messages of a build that has ended; `undefined` if there is none. */
  log(ref: string): readonly StatusResponse[] | undefined {
    const digest = this.#read(ref)?.logs?.digest;
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
    try {
      return readFileSync(join(this.#blobs, hexOf(digest)));
    } catch {
      return undefined;
    }
  }

  blobs(): readonly Digest[] {
    return readdirSync(this.#blobs).map((name) => `sha256:${name}` as Digest);
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
    const records = readdirSync(this.#records).flatMap((name) => this.#read(name) ?? []);
    return records.sort((a, b) => timestampMs(a.CreatedAt!) - timestampMs(b.CreatedAt!));
  }

  pin(ref: string, pinned: boolean): boolean {
    const record = this.#read(ref);
    if (!record) return false;
    record.pinned = pinned;
    this.#save(record);
    return true;
  }

  /** @returns whether there was one */
  delete(ref: string): boolean {
    const record = this.#read(ref);
    if (!record) return false;
    rmSync(join(this.#records, safeName(ref)), { force: true });
    const kept = new Set(this.#ended().flatMap(blobsOf));
    for (const digest of blobsOf(record))
      if (!kept.has(digest)) rmSync(join(this.#blobs, hexOf(digest)), { force: true });
    this.#tell(BuildHistoryEventType.DELETED, record);
    return true;
  }

  #collect(): void {
    const records = this.#ended().filter(({ pinned }) => !pinned);
    const surplus = records.slice(0, Math.max(0, records.length - this.#limits.maxEntries));
    for (const { Ref, CompletedAt } of surplus)
      if (Date.now() - timestampMs(CompletedAt!) > this.#limits.maxAge || records.length > MAX_RECORDS)
        this.delete(Ref);
  }

  #tell(type: BuildHistoryEventType, record: BuildHistoryRecord): void {
    for (const listener of this.#listeners) listener(create(BuildHistoryEventSchema, { type, record }));
  }

  #save(record: BuildHistoryRecord): void {
    const path = join(this.#records, safeName(record.Ref));
    writeFileSync(`${path}.new`, toBinary(BuildHistoryRecordSchema, record));
    renameSync(`${path}.new`, path);
  }

  #read(ref: string): BuildHistoryRecord | undefined {
    try {
      return fromBinary(BuildHistoryRecordSchema, readFileSync(join(this.#records, safeName(ref))));
    } catch {
      // gone, or half written by a process that was killed
      return undefined;
    }
  }
}

function blobsOf({ logs, trace, Result }: BuildHistoryRecord): Digest[] {
  return [logs, trace, ...(Result?.Attestations ?? [])].flatMap((blob) =>
    blob && isDigest(blob.digest) ? [blob.digest] : [],
  );
}

/** Ids are a client's: they name a file, and nothing else. */
function safeName(ref: string): string {
  return /^[A-Za-z0-9_-]{1,100}$/.test(ref) ? ref : hexOf(digestOf(ref));
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

function resultOf(response: Readonly<Record<string, string>>): Descriptor | undefined {
  const text = response["containerimage.descriptor"];
  if (text === undefined) return undefined;
  const { mediaType, digest, size } = JSON.parse(Buffer.from(text, "base64").toString()) as {
    mediaType: string;
    digest: string;
    size: number;
  };
  return create(DescriptorSchema, { mediaType, digest, size: BigInt(size) });
}
