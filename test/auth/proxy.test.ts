// A proxy between us and Azure, as the environment names it.
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { bluekilnAside, KEY, makeContext, startServices, type Services } from "../support/services.js";
import { tunnel } from "../support/tunnel.js";

let services: Services;
let proxy: Server;
const asked: string[] = [];
beforeAll(async () => {
  services = await startServices();
  proxy = createServer().on("connect", (request, client, head) => {
    asked.push(request.url!);
    tunnel(client, head, request.url!);
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
});
afterAll(() => {
  proxy.close();
  proxy.closeAllConnections();
  services.stop();
});
beforeEach(() => void asked.splice(0));

async function build(environment: Record<string, string>): Promise<string> {
  const { host } = new URL(services.azure);
  const cache = `type=azblob,name=p,account_url=http://${host}/devstoreaccount1,account_name=devstoreaccount1,secret_access_key=${KEY}`;
  const context = makeContext(services.work, { Dockerfile: "FROM scratch\nCOPY f /\n", f: "x" });
  const state = mkdtempSync(join(services.work, "state-"));
  const address = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  const env = { HTTP_PROXY: address, HTTPS_PROXY: address, ...environment };
  const { status, stderr } = await bluekilnAside(
    ["build", "--state-dir", state, "--cache-to", cache, context],
    env,
  );
  expect(`${status} ${stderr}`).toMatch(/^0 /);
  return host;
}

it("is asked for the account", async () => {
  const host = await build({});
  expect(new Set(asked)).toEqual(new Set([host]));
});

it("is not asked where NO_PROXY says so", async () => {
  await build({ NO_PROXY: "127.0.0.1" });
  expect(asked).toEqual([]);
});
