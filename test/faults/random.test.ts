// Builds over a line where every tenth request goes wrong, in one way or another: every image is right.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { startFaultProxy, type FaultProxy } from "../support/fault-proxy.js";
import { bluekilnAside, KEY, makeContext, startServices, type Services } from "../support/services.js";

const RUNS = Number(process.env["FAULT_RUNS"] ?? 8);
const SEED = Number(process.env["FAULT_SEED"] ?? Date.now() % 100_000);
/** One rule for each kind: the proxy throws its dice by kind. The variant changes from build to build. */
const KINDS = [
  [{ kind: "busy" }, { kind: "busy", forward: true }],
  [{ kind: "throttle", retryAfter: 0 }],
  [{ kind: "internal", forward: true }, { kind: "internal" }],
  [
    { kind: "reset", after: 500 },
    { kind: "reset", after: 0, on: "request" },
  ],
  [
    { kind: "truncate", after: 300, method: "GET" },
    { kind: "truncate", after: 300, method: "GET", fixLength: true },
  ],
  [{ kind: "corrupt", op: "GetBlob", path: "/blobs/" }],
  [{ kind: "notFound", op: "GetBlob", path: "/blobs/" }],
  [{ kind: "auth", op: "GetBlob", path: "/blobs/" }],
];

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

it(
  `FAULT_SEED=${SEED} FAULT_RUNS=${RUNS}`,
  async () => {
    const cache = `type=azblob,name=random,container=random,account_url=http://${azure.address}/devstoreaccount1,account_name=devstoreaccount1,secret_access_key=${KEY}`;
    const context = makeContext(services.work, {
      Dockerfile: [
        `FROM ${services.base} AS a`,
        "RUN head -c 2000000 /dev/zero > /big && echo one > /one",
        "ARG CHANGED",
        "RUN echo $CHANGED > /changed && cat /one >> /changed",
        "FROM scratch",
        "COPY --from=a /changed /one /big /",
        "",
      ].join("\n"),
    });
    // four kinds meet every request: a tenth of all; downloads meet the others as well
    const p = 0.1 / 4;
    for (let run = 0; run < RUNS; run++) {
      await azure.configure({ seed: SEED * 1000 + run });
      await azure.setFaults(KINDS.map((variants) => ({ ...variants[run % variants.length]!, p })));
      const changed = String(run % 4);
      const [state, out] = ["state-", "out-"].map((name) => mkdtempSync(join(services.work, name)));
      const args = [
        "--state-dir",
        state!,
        "--cache-from",
        cache,
        "--cache-to",
        `${cache},mode=max,ignore-error=true`,
      ];
      const built = await bluekilnAside([
        "build",
        ...args,
        "--build-arg",
        `CHANGED=${changed}`,
        "--output",
        out!,
        context,
      ]);
      expect(`run ${run}: ${built.status} ${built.stderr}`).toMatch(/^run \d+: 0 /);
      expect(readFileSync(join(out!, "changed"), "utf8")).toBe(`${changed}\none\n`);
      expect(readFileSync(join(out!, "big")).equals(Buffer.alloc(2_000_000))).toBe(true);
      rmSync(state!, { recursive: true });
      rmSync(out!, { recursive: true });
    }
    const { faults } = await azure.stats();
    expect(Object.values(faults).reduce((a, b) => a + b, 0)).toBeGreaterThan(0);
  },
  60_000 + RUNS * 30_000,
);
