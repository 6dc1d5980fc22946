// azproxy.mjs in front of a server: the same address space, with faults and delays set from the test.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { request, type IncomingMessage } from "node:http";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { json } from "node:stream/consumers";

export interface ProxyStats {
  readonly faults: Readonly<Record<string, number>>;
  /** requests by operation: "GetBlob", "PutBlock" */
  readonly ops: Readonly<Record<string, number>>;
}

interface RawStats {
  readonly faults: ProxyStats["faults"];
  readonly ops: Readonly<Record<string, { readonly n: number }>>;
}

export interface FaultProxy {
  /** host and port to use instead of the server's */
  readonly address: string;
  /** replaces all rules; see `azproxy.mjs --help` */
  setFaults(rules: readonly object[]): Promise<void>;
  /** "rttMs", "mbps", "seed" and the like; see `azproxy.mjs --help` */
  configure(settings: Readonly<Record<string, number>>): Promise<void>;
  stats(): Promise<ProxyStats>;
  stop(): void;
}

/**
 * @param target host and port of a server that speaks http
 * @param options of azproxy's own, such as a certificate
 */
export async function startFaultProxy(target: string, options: readonly string[] = []): Promise<FaultProxy> {
  const script = join(import.meta.dirname, "azproxy.mjs");
  const child = spawn(process.execPath, [script, "--target", target, ...options], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = (await once(createInterface(child.stdout), "line")) as [string];
  const { listen, control } = JSON.parse(line) as { listen: string; control: string };
  return {
    address: listen,
    setFaults: async (rules) => {
      await ask(control, "PUT", "/faults", rules);
    },
    configure: async (settings) => {
      await ask(control, "PATCH", "/config", settings);
    },
    stats: async () => {
      const { faults, ops } = (await ask(control, "GET", "/stats")) as RawStats;
      return { faults, ops: Object.fromEntries(Object.entries(ops).map(([op, { n }]) => [op, n])) };
    },
    stop: () => void child.kill(),
  };
}

/** On a connection of its own: a test that waits for a build blocks long enough for an idle one to be closed. */
async function ask(control: string, method: string, path: string, body?: unknown): Promise<unknown> {
  const out = request(`http://${control}${path}`, { method, agent: false });
  out.end(body === undefined ? "" : JSON.stringify(body));
  const [response] = (await once(out, "response")) as [IncomingMessage];
  if (response.statusCode !== 200) throw new Error(`azproxy: ${response.statusCode}`);
  return json(response);
}
