// No key: a managed identity, with Azurite checking its tokens over https and an identity endpoint of our own.
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { AzureHosts } from "../support/azure-hosts.js";
import { bluekilnAside, makeContext, type Outcome } from "../support/services.js";

const HEADER = "the-secret-of-the-endpoint";
const work = mkdtempSync(join(tmpdir(), "bluekiln-identity-"));
const asked: URL[] = [];
let azure: AzureHosts;
let endpoint: Server;

beforeAll(async () => {
  azure = await AzureHosts.start(work);
  // App Service's form of the endpoint
  endpoint = createServer((request, response) => {
    if (request.headers["x-identity-header"] !== HEADER) return void response.writeHead(403).end();
    asked.push(new URL(request.url!, "http://127.0.0.1"));
    response.setHeader("content-type", "application/json");
    response.end(
      JSON.stringify({
        access_token: azure.token(),
        expires_on: String(Math.floor(Date.now() / 1000) + 3600),
        resource: "https://storage.azure.com",
        token_type: "Bearer",
      }),
    );
  }).listen(0, "127.0.0.1");
  await once(endpoint, "listening");
});
afterAll(() => {
  azure.stop();
  endpoint.close();
  rmSync(work, { recursive: true, force: true });
});
afterEach(() => {
  asked.length = 0;
  azure.lifetime = 3600;
});

async function build(env: Record<string, string> = {}): Promise<Outcome> {
  const cache = `type=azblob,name=identity,account_url=${azure.plainAccount},account_name=devstoreaccount1`;
  const context = makeContext(work, { Dockerfile: "FROM scratch\nCOPY f /\n", f: "x" });
  const state = mkdtempSync(join(work, "state-"));
  const args = ["build", "--state-dir", state, "--cache-to", cache, "--cache-from", cache, context];
  return bluekilnAside(args, {
    IDENTITY_ENDPOINT: `http://127.0.0.1:${(endpoint.address() as AddressInfo).port}/token`,
    IDENTITY_HEADER: HEADER,
    NODE_EXTRA_CA_CERTS: azure.certificate,
    ...env,
  });
}

it("a managed identity imports and exports", async () => {
  const first = await build();
  expect(first.stderr).not.toContain("ERROR");
  expect(first.status).toBe(0);
  const second = await build();
  expect(second.stderr).toMatch(/COPY f \/\n#\d+ CACHED/);
  expect(asked[0]!.searchParams.get("resource")).toBe("https://storage.azure.com");
  expect(asked[0]!.searchParams.has("client_id")).toBe(false);
});

it("a user-assigned identity is asked for by its client id", async () => {
  const client = "11111111-2222-3333-4444-555555555555";
  expect((await build({ AZURE_CLIENT_ID: client })).status).toBe(0);
  expect(asked[0]!.searchParams.get("client_id")).toBe(client);
});

it("a token that the account refuses ends in a message that says which role is needed", async () => {
  azure.lifetime = -60;
  const { status, stderr } = await build();
  expect(status).toBe(1);
  expect(stderr).toContain("the identity needs the role Storage Blob Data Contributor");
});

it("no identity at all ends in a message that says what was tried", async () => {
  const { status, stderr } = await build({
    IDENTITY_ENDPOINT: "",
    IDENTITY_HEADER: "",
    AZURE_TOKEN_CREDENTIALS: "prod",
  });
  expect(status).toBe(1);
  expect(stderr).toMatch(/no Azure identity gave a token .*; give secret_access_key/);
});
