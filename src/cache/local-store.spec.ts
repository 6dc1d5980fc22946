import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { Database } from "../content/index.js";
import { digestOf } from "../lib/index.js";
import type { RefStore } from "../snapshot/index.js";
import { LocalCacheStore } from "./local-store.js";

let folder: string;
let database: Database;
let store: LocalCacheStore;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bluekiln-records-"));
  database = new Database(folder);
  store = new LocalCacheStore(database, { activity: { now: () => 1 } } as unknown as RefStore);
});
afterEach(async () => {
  await database.close();
  rmSync(folder, { recursive: true, force: true });
});

const root = digestOf("root");
const link = (parent: string) => ({ parent, selector: undefined });

it("keeps nothing that stands on what was pruned since it was met", () => {
  const parent = store.save({ digest: digestOf("parent"), inputs: [[link(root)]] }, undefined);
  expect(store.record(parent)).toBeDefined();
  // another process prunes
  database.transaction(() => store.forget(new Set(), Infinity));
  expect(store.record(parent)).toBeUndefined();

  const child = store.save({ digest: digestOf("child"), inputs: [[link(parent)]] }, undefined);
  expect(store.record(child)).toBeUndefined();
  const grandchild = store.save({ digest: digestOf("grandchild"), inputs: [[link(child)]] }, undefined);
  expect(store.record(grandchild)).toBeUndefined();
  const other = store.save({ digest: digestOf("other"), inputs: [[link(parent), link(root)]] }, undefined);
  expect(store.record(other)?.inputs).toEqual([[link(root)]]);
  expect(store.problems()).toEqual([]);
});
