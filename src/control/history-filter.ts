// Filters of ListenBuildHistory: of one filter all fields have to hold, of several filters one.
// Source of the names: BuildKit's history of 0.20 and later, as buildx's `history ls --filter` sends them.
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { BuildError, parseCsv, parseDuration } from "../lib/index.js";
import type { BuildHistoryRecord } from "./gen/buildkit/control_pb.js";

type Test = (record: BuildHistoryRecord) => boolean;

const TEXTS: Readonly<Record<string, (record: BuildHistoryRecord) => string>> = {
  ref: ({ Ref }) => Ref,
  status: statusOf,
  repository: ({ FrontendAttrs }) => FrontendAttrs["vcs:source"] ?? FrontendAttrs["context"] ?? "",
};

/** Milliseconds; `undefined` while a build runs. */
const NUMBERS: Readonly<Record<string, (record: BuildHistoryRecord) => number | undefined>> = {
  startedAt: ({ CreatedAt }) => CreatedAt && timestampMs(CreatedAt),
  completedAt: ({ CompletedAt }) => CompletedAt && timestampMs(CompletedAt),
  duration: ({ CreatedAt, CompletedAt }) =>
    CreatedAt && CompletedAt && timestampMs(CompletedAt) - timestampMs(CreatedAt),
};

/** @throws BuildError FILTER_INVALID */
export function historyFilter(filters: readonly string[], now = Date.now()): Test {
  const tests = filters.map((filter) => parseCsv(filter).map((field) => testOf(field.trim(), now)));
  return (record) => tests.length === 0 || tests.some((fields) => fields.every((test) => test(record)));
}

function testOf(text: string, now: number): Test {
  const [, key = "", operator = "", value = ""] = /^(\w+)(<=|>=|==|!=|~=|=|<|>)(.*)$/s.exec(text) ?? [];
  const words = TEXTS[key];
  if (words && operator === "~=") {
    const pattern = new RegExp(value);
    return (record) => pattern.test(words(record));
  }
  if (words && /^[!=]?=$/.test(operator))
    return (record) => (words(record) === value) === (operator !== "!=");
  const number = NUMBERS[key];
  const limit = number && limitOf(key, value, now);
  if (!number || limit === undefined || !/^[<>]=?$/.test(operator))
    throw new BuildError("FILTER_INVALID", `invalid filter "${text}"`);
  return (record) => {
    const known = number(record);
    if (known === undefined) return false;
    if (known === limit) return operator.endsWith("=");
    return operator.startsWith("<") ? known < limit : known > limit;
  };
}

/** A duration, or a time: as it is written, or so long ago. */
function limitOf(key: string, value: string, now: number): number | undefined {
  const duration = parseDuration(value);
  if (key === "duration") return duration;
  const time = duration === undefined ? Date.parse(value) : now - duration;
  return Number.isNaN(time) ? undefined : time;
}

function statusOf({ CompletedAt, error }: BuildHistoryRecord): string {
  if (!CompletedAt) return "running";
  if (!error) return "completed";
  return error.message.includes("context canceled") ? "canceled" : "error";
}
