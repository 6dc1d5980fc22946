// Layers of the cache that break on their way to us: their steps run again, and the image is right.
import { mkdtempSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { startFaultProxy, type FaultProxy } from "../support/fault-proxy.js";
import { bluekiln, KEY, makeContext, startServices, type Services } from "../support/services.js";

let services: Services;
let azure: FaultProxy;
let cache: string;
let context: string;

beforeAll(async () => {
  services = await startServices();
  azure = await startFaultProxy(new URL(services.azure).host);
  cache = `type=azblob,name=faults,account_url=http://${azure.address}/devstoreaccount1,account_name=devstoreaccount1,secret_access_key=${KEY},stall_timeout=1s`;
  context = makeContext(services.work, {
    Dockerfile: `FROM ${services.base}
RUN head -c 3000000 /dev/urandom > /big && echo one > /one
RUN echo two > /two
ARG LAST
RUN cat /one /two > /all && wc -c < /big >> /all && echo $LAST
`,
  });
  const made = build("--cache-to", `${cache},mode=max`);
  if (made.status !== 0) throw new Error(made.stderr);
});
afterAll(() => {
  azure.stop();
  services.stop();
});
beforeEach(() => azure.setFaults([]));

function build(...args: string[]) {
  return bluekiln(["build", "--state-dir", mkdtempSync(join(services.work, "state-")), ...args, context]);
}

const layers = { op: "GetBlob", path: "/blobs/" };
const FAULTS = [
  { name: "is gone since it was listed", rule: { kind: "notFound", ...layers } },
  { name: "may not be read", rule: { kind: "auth", ...layers } },
  { name: "is refused by a busy server", rule: { kind: "busy", ...layers } },
  { name: "breaks at every try", rule: { kind: "reset", after: 1000, ...layers } },
  { name: "ends too early", rule: { kind: "truncate", after: 200, fixLength: true, ...layers } },
  { name: "comes to a standstill", rule: { kind: "stall", after: 200, seconds: 60, ...layers } },
  { name: "has a damaged byte", rule: { kind: "corrupt", ...layers } },
];

describe("a layer of the cache that", () => {
  it.each(FAULTS)("$name is made again when a step needs it", async ({ rule }) => {
    await azure.setFaults([rule]);
    const out = mkdtempSync(join(services.work, "out-"));
    const result = build("--cache-from", cache, "--build-arg", "LAST=1", "--output", out);
    expect(result.stderr).toMatch(/WARNING: cached result of .* cannot be used: /);
    expect(result.status).toBe(0);
    expect(readFileSync(join(out, "all"), "utf8")).toBe("one\ntwo\n3000000\n");
  });

  it.each(FAULTS)("$name is made again when the image needs it", async ({ rule }) => {
    await azure.setFaults([rule]);
    const out = mkdtempSync(join(services.work, "out-"));
    const result = build("--cache-from", cache, "--output", out);
    expect(result.stderr).toMatch(/#(\d+) CACHED[^]*#\1 DONE/);
    expect(result.status).toBe(0);
    expect(readFileSync(join(out, "all"), "utf8")).toBe("one\ntwo\n3000000\n");
  });

  it("breaks once is taken up where it stopped", async () => {
    await azure.setFaults([{ kind: "reset", after: 100_000, per: "blob", first: 1, ...layers }]);
    const result = build("--cache-from", cache, "--build-arg", "LAST=1");
    expect(result.stderr).toMatch(/RUN head -c 3000000 .*\n#\d+ CACHED/);
    expect(result.stderr).not.toContain("WARNING");
    expect(result.status).toBe(0);
  });

  it("is damaged is replaced by the next export, by another build as well", async () => {
    const stateDir = ["--state-dir", mkdtempSync(join(services.work, "state-"))];
    await azure.setFaults([{ kind: "corrupt", ...layers }]);
    const first = build("--cache-from", cache, "--build-arg", "LAST=1", ...stateDir);
    expect(first.status).toBe(0);
    const [, digest] = /unexpected commit digest sha256:\w+, expected (sha256:\w+)/.exec(first.stderr)!;
    await azure.setFaults([]);
    const second = build("--cache-from", cache, "--cache-to", `${cache},mode=max`, ...stateDir);
    const sent = [...second.stderr.matchAll(/writing layer (sha256:\w+)/g)].map(([, name]) => name);
    expect(sent).toContain(digest);
    const third = build("--cache-from", cache, "--cache-to", `${cache},mode=max`, ...stateDir);
    expect(third.stderr).not.toContain("writing layer");
  });

  it("cannot be had is left out of another cache", async () => {
    await azure.setFaults([{ kind: "notFound", ...layers }]);
    const other = `${cache.replace("name=faults", "name=other")},container=elsewhere,mode=max`;
    const result = build("--cache-from", cache, "--cache-to", other);
    expect(result.status).toBe(0);
    await azure.setFaults([]);
    const again = build("--cache-from", other.replace(",mode=max", ""));
    expect(again.stderr).toMatch(/RUN cat \/one .*\n#\d+ CACHED/);
  });
});

it("a base image whose pull breaks is taken up where it stopped", async () => {
  const registry = await startFaultProxy(services.registry);
  try {
    await registry.setFaults([
      { kind: "reset", after: 100_000, path: "/blobs/", method: "GET", per: "blob", first: 1 },
    ]);
    const folder = makeContext(services.work, {
      Dockerfile: `FROM ${services.base.replace(services.registry, registry.address)}\nRUN true\n`,
    });
    const result = bluekiln(["build", "--state-dir", mkdtempSync(join(services.work, "state-")), folder]);
    expect(result.stderr).not.toContain("ERROR");
    expect(result.status).toBe(0);
    expect((await registry.stats()).faults).toMatchObject({ reset: 1 });
  } finally {
    registry.stop();
  }
});
