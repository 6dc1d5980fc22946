import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { expect, it } from "vitest";
import { BuildHistoryRecordSchema } from "./gen/buildkit/control_pb.js";
import { historyFilter } from "./history-filter.js";

const NOW = Date.parse("2025-06-01T12:00:00Z");
const at = (minutes: number) => timestampFromMs(NOW - minutes * 60_000);
const RECORDS = [
  create(BuildHistoryRecordSchema, { Ref: "done", CreatedAt: at(60), CompletedAt: at(50) }),
  create(BuildHistoryRecordSchema, {
    Ref: "failed",
    CreatedAt: at(30),
    CompletedAt: at(29),
    error: { message: "exit code: 1" },
    FrontendAttrs: { "vcs:source": "https://example.com/r" },
  }),
  create(BuildHistoryRecordSchema, {
    Ref: "canceled",
    CreatedAt: at(20),
    CompletedAt: at(19),
    error: { message: "Canceled: context canceled" },
  }),
  create(BuildHistoryRecordSchema, { Ref: "running", CreatedAt: at(10) }),
];

it.each([
  [[], "done failed canceled running"],
  [["status=error"], "failed"],
  [["status!=completed"], "failed canceled running"],
  [["status=canceled", "status=running"], "canceled running"],
  [["status=completed,duration>5m"], "done"],
  [["duration<=1m"], "failed canceled"],
  [["startedAt>25m"], "canceled running"],
  [["completedAt<2025-06-01T11:35:00Z"], "done failed"],
  [["ref~=^(do|ru)"], "done running"],
  [["repository=https://example.com/r"], "failed"],
])("%j", (filters, wanted) => {
  const test = historyFilter(filters, NOW);
  expect(
    RECORDS.filter(test)
      .map(({ Ref }) => Ref)
      .join(" "),
  ).toBe(wanted);
});

it.each(["foo=bar", "status>error", "duration=1m", "duration<x", "startedAt>yesterday", ""])(
  "%j is refused",
  (text) => {
    expect(() => historyFilter([text])).toThrow("invalid filter");
  },
);
