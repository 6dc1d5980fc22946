// Exports and imports of a cache in Azure over a bad line: what they end in, and how many requests they take.
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { startFaultProxy, type FaultProxy } from "../support/fault-proxy.js";
import {
  bluekiln,
  bluekilnAside,
  KEY,
  makeContext,
  start,
  startServices,
  type Services,
} from "../support/services.js";

let services: Services;
let azure: FaultProxy;
beforeAll(async () => {
  services = await startServices();
  azure = await startFaultProxy(new URL(services.azure).host);
});
afterAll(() => {
  azure.stop();
  services.stop();
});
beforeEach(() => azure.setFaults([]));

const cache = (name: string, extra = ""): string =>
  `type=azblob,name=${name},container=${name},account_url=http://${azure.address}/devstoreaccount1,account_name=devstoreaccount1,secret_access_key=${KEY}${extra}`;
const stateDir = (): string => mkdtempSync(join(services.work, "state-"));

/** A step for each of `count` small layers, and one layer of `big` random bytes. */
function contextOf(count: number, big = 0): string {
  const lines = Array.from({ length: count }, (_, i) => `COPY f /f${i}`);
  const folder = makeContext(services.work, {
    Dockerfile: ["FROM scratch", ...lines, ...(big > 0 ? ["COPY big /big"] : []), ""].join("\n"),
    f: `content ${Math.random()}`,
  });
  if (big > 0) writeFileSync(join(folder, "big"), randomBytes(big));
  return folder;
}

async function requestsOf(run: () => Promise<unknown>): Promise<Record<string, number>> {
  const before = (await azure.stats()).ops;
  await run();
  const after = (await azure.stats()).ops;
  const counts = Object.entries(after).map(([op, count]) => [op, count - (before[op] ?? 0)] as const);
  return Object.fromEntries(counts.filter(([, count]) => count > 0));
}
const total = (counts: Record<string, number>): number => Object.values(counts).reduce((a, b) => a + b, 0);

async function build(context: string, ...args: string[]): Promise<string> {
  const { status, stderr } = await bluekilnAside(["build", "--progress=plain", ...args, context]);
  expect(`${status} ${stderr}`).toMatch(/^0 /);
  return stderr;
}
/** Builds on an empty state folder from the cache alone; every step has to be cached. */
async function isComplete(name: string, context: string): Promise<void> {
  const out = mkdtempSync(join(services.work, "out-"));
  const stderr = await build(
    context,
    "--state-dir",
    stateDir(),
    "--cache-from",
    cache(name),
    "--output",
    out,
  );
  const steps = [...stderr.matchAll(/^#(\d+) \[ *\d+\/\d+\] COPY/gm)].map(([, id]) => id);
  expect(steps.filter((id) => !new RegExp(`^#${id} CACHED$`, "m").test(stderr))).toEqual([]);
  const read = (file: string): Buffer => readFileSync(file);
  expect(read(join(out, "f0")).equals(read(join(context, "f")))).toBe(true);
  const big = join(context, "big");
  const hasBig = readFileSync(join(context, "Dockerfile"), "utf8").includes("COPY big");
  if (hasBig) expect(read(join(out, "big")).equals(read(big))).toBe(true);
}

describe("requests", () => {
  it("of an export are one for each layer and three more; of the same again, three", async () => {
    const context = contextOf(41);
    const state = stateDir();
    const args = ["--state-dir", state, "--cache-to", cache("requests", ",mode=max")];
    // the container is there already
    await build(contextOf(1), "--state-dir", stateDir(), "--cache-to", cache("requests", ",mode=max"));
    const metadata = join(services.work, "metadata.json");
    const shown: string[] = [];
    const first = await requestsOf(async () =>
      shown.push(await build(context, ...args, "--metadata-file", metadata)),
    );
    expect(total(first)).toBeLessThanOrEqual(44);
    expect(shown[0]).toMatch(/41 layers \([\d.]+kB\) sent at [\d.]+kB\/s, 0 layers \(0B\) there already/);
    const traffic = (JSON.parse(readFileSync(metadata, "utf8")) as Record<string, Record<string, object>>)[
      "bluekiln.cache.traffic"
    ]!;
    expect(Object.keys(traffic)).toEqual([`http://${azure.address}/devstoreaccount1/requests`]);
    expect(Object.values(traffic)[0]).toMatchObject({ retries: 0, requests: total(first) });
    const again = await requestsOf(async () => shown.push(await build(context, ...args)));
    expect(shown[1]).toMatch(/0 layers \(0B\) sent, 41 layers \([\d.]+kB\) there already/);
    expect(total(again)).toBeLessThanOrEqual(3);
    // equal manifests are not written
    expect(again["PutBlob"] ?? 0).toBe(0);
    const imported = await requestsOf(() => isComplete("requests", context));
    expect(total(imported)).toBeLessThanOrEqual(44);
  });
});

describe("an export over a bad line is complete:", () => {
  it.each([
    ["a busy server", [{ kind: "busy", first: 5, op: "PutBlob" }]],
    ["a busy server that says for how long", [{ kind: "throttle", retryAfter: 1, first: 2, op: "PutBlob" }]],
    [
      "resets in the middle of blocks",
      [{ kind: "reset", after: 3_000_000, on: "request", first: 3, op: "PutBlock" }],
    ],
    [
      "an answer to a commit that is lost",
      [{ kind: "internal", forward: true, first: 1, op: "PutBlockList" }],
    ],
    ["an answer to an upload that is lost", [{ kind: "internal", forward: true, first: 2, op: "PutBlob" }]],
    ["a listing that breaks", [{ kind: "reset", after: 10, first: 1, op: "ListBlobs" }]],
  ])("%s", async (title, faults) => {
    const name = title.replace(/\W+/g, "-").toLowerCase();
    const context = contextOf(4, 20 << 20);
    await azure.setFaults(faults);
    await build(context, "--state-dir", stateDir(), "--cache-to", cache(name, ",mode=max"));
    const { faults: hit } = await azure.stats();
    expect(Object.values(hit).some((count) => count > 0)).toBe(true);
    await azure.setFaults([]);
    await isComplete(name, context);
  });
});

describe("an import over a bad line ends in the right image:", () => {
  it.each([
    [
      "ranges that break off",
      [{ kind: "reset", after: 2_000_000, first: 4, op: "GetBlob", path: "/blobs/" }],
    ],
    ["a busy server", [{ kind: "busy", first: 4, op: "GetBlob" }]],
    [
      "a range that ends too early",
      [{ kind: "truncate", after: 1_000_000, first: 3, op: "GetBlob", path: "/blobs/" }],
    ],
    [
      "a manifest that breaks off",
      [{ kind: "reset", after: 100, first: 2, op: "GetBlob", path: "/manifests/" }],
    ],
  ])("%s", async (title, faults) => {
    const name = `import-${title.replace(/\W+/g, "-").toLowerCase()}`.slice(0, 60).replace(/-$/, "");
    const context = contextOf(3, 40 << 20);
    await build(context, "--state-dir", stateDir(), "--cache-to", cache(name, ",mode=max"));
    await azure.setFaults(faults);
    await isComplete(name, context);
    const { faults: hit } = await azure.stats();
    expect(Object.values(hit).some((count) => count > 0)).toBe(true);
  });
});

describe("a slow line", () => {
  it("is no line that stands still, in either direction", async () => {
    const context = contextOf(1, 9 << 20);
    const place = cache("slow-line", ",stall_timeout=1s,max_requests=1");
    // a part takes four seconds
    await azure.configure({ mbps: 16 });
    try {
      const shown = await build(context, "--state-dir", stateDir(), "--cache-to", `${place},mode=max`);
      expect(shown).not.toContain("retries");
      const args = ["--state-dir", stateDir(), "--cache-from", place, "--output", "type=oci,dest=/dev/null"];
      expect(await build(context, ...args)).toContain("CACHED");
    } finally {
      await azure.configure({ mbps: 0 });
    }
  });
});

describe("exports to one name at the same time", () => {
  it("lose nothing of each other", async () => {
    const contexts = [1, 2, 3].map(() => contextOf(5));
    // nobody has written before everybody has begun, however slowly they start
    await azure.setFaults([{ kind: "slow", ms: 4000, op: "PutBlob" }]);
    const builds = contexts.map((context) =>
      build(context, "--state-dir", stateDir(), "--cache-to", cache("together", ",mode=max")),
    );
    await Promise.all(builds);
    await azure.setFaults([]);
    for (const context of contexts) await isComplete("together", context);
    // a later build replaces what it began with
    const last = contextOf(2);
    await build(last, "--state-dir", stateDir(), "--cache-to", cache("together", ",mode=max"));
    await isComplete("together", last);
    const stderr = await build(contexts[0]!, "--state-dir", stateDir(), "--cache-from", cache("together"));
    expect(stderr).not.toContain("CACHED");
  });
});

describe("an export that is killed", () => {
  it("goes on where it was, and what it left is imported without complaint", async () => {
    const context = contextOf(2, 96 << 20);
    const state = stateDir();
    await build(context, "--state-dir", state);
    await azure.setFaults([
      { kind: "stall", after: 0, seconds: 60, on: "request", op: "PutBlock", nth: "7|8|9|10|11|12" },
    ]);
    const before = (await azure.stats()).ops["PutBlock"] ?? 0;
    const child = start(["build", "--state-dir", state, "--cache-to", cache("killed", ",mode=max"), context]);
    for (const end = Date.now() + 6000; Date.now() < end; await new Promise((r) => setTimeout(r, 200))) {
      const { ops } = await azure.stats();
      if ((ops["PutBlock"] ?? 0) - before >= 6) break;
    }
    await new Promise((r) => setTimeout(r, 1500));
    child.kill("SIGKILL");
    await azure.setFaults([]);
    expect(await build(context, "--state-dir", stateDir(), "--cache-from", cache("killed"))).not.toContain(
      "ERROR",
    );
    const counts = await requestsOf(() =>
      build(context, "--state-dir", state, "--cache-to", cache("killed", ",mode=max")),
    );
    expect(counts["PutBlock"] ?? 0).toBeLessThan(9);
    await isComplete("killed", context);
  });
});

describe("timeout", () => {
  it("ends an import with a warning, an export with an error", async () => {
    const context = contextOf(1);
    await azure.setFaults([{ kind: "slow", ms: 30_000 }]);
    const imported = await build(
      context,
      "--state-dir",
      stateDir(),
      "--cache-from",
      cache("slow", ",timeout=1s"),
    );
    expect(imported).toContain("took longer than 1 seconds");
    const args = ["build", "--state-dir", stateDir(), "--cache-to", cache("slow", ",timeout=1s"), context];
    const exported = await bluekilnAside(args);
    expect(exported.stderr).toContain("took longer than 1 seconds");
    expect(exported.status).toBe(1);
  });

  it.each([
    ["timeout=soon", "is not a duration"],
    ["max_requests=0", "is not a number from 1 to 1000"],
  ])("%s is refused", (parameter, message) => {
    const result = bluekiln(["build", "--cache-from", cache("parameters", `,${parameter}`), contextOf(1)]);
    expect(result.stderr).toContain(message);
    expect(result.status).toBe(1);
  });
});
