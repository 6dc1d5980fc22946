import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { afterEach, beforeEach, expect, it } from "vitest";
import {
  SolveRequestSchema,
  StatusResponseSchema,
  type BuildHistoryEvent,
} from "./gen/buildkit/control_pb.js";
import { History } from "./history.js";

let folder: string;
let history: History;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bluekiln-history-"));
  history = new History(folder);
});
afterEach(() => {
  history.close();
  rmSync(folder, { recursive: true, force: true });
});

/** A build that says something. */
function record(ref: string, said = ref): void {
  history.begin(create(SolveRequestSchema, { Ref: ref }));
  const log = [create(StatusResponseSchema, { logs: [{ msg: Buffer.from(said) }] })];
  history.end(ref, { error: undefined, response: {}, exported: [], log, predicates: [] });
}

async function refs(): Promise<string[]> {
  const query = { ref: "", activeOnly: false, earlyExit: true, limit: 0, matches: () => true };
  const events: BuildHistoryEvent[] = [];
  for await (const event of history.listen(query, new AbortController().signal)) events.push(event);
  return events.map((event) => event.record!.Ref);
}

function reopen(): void {
  history.close();
  history = new History(folder);
}

it("keeps the youngest thousand, but what is pinned, and only their logs", async () => {
  for (let i = 0; i < 1010; i++) {
    record(`b${i}`);
    if (i === 2) history.pin("b2", true);
  }
  const expected = ["b2", ...Array.from({ length: 1000 }, (_, i) => `b${i + 10}`)];
  expect(await refs()).toEqual(expected);
  expect(history.blobs()).toHaveLength(expected.length);
  expect(readdirSync(join(folder, "records"))).toHaveLength(expected.length);
});

it("is there after a restart, without what a killed process left", async () => {
  record("a");
  record("b");
  history.pin("b", true);
  writeFileSync(join(folder, "records", "half.new"), "x");
  writeFileSync(join(folder, "blobs", "ab".repeat(32)), "of nobody");
  reopen();
  expect(await refs()).toEqual(["a", "b"]);
  expect(history.log("a")?.[0]?.logs[0]?.msg.toString()).toBe(Buffer.from("a").toString());
  expect(history.blobs()).toHaveLength(2);
  expect(readdirSync(join(folder, "records")).sort()).toEqual(["a", "b"]);
});

it("keeps a blob as long as one record has it", () => {
  record("a", "the same");
  record("b", "the same");
  history.delete("a");
  expect(history.log("a")).toBeUndefined();
  expect(history.log("b")).toHaveLength(1);
  reopen();
  history.delete("b");
  expect(history.blobs()).toEqual([]);
});

it("belongs to one daemon", () => {
  expect(() => new History(folder)).toThrow("another instance running?");
});
