// No key: a managed identity, with Azurite checking its tokens over https and an identity endpoint of our own.
import { execFileSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
// @ts-expect-error plain JavaScript, shared with the golden runner
import { startAzurite, waitFor } from "../golden/lib/services.mjs";
import { bluekilnAside, freePort, makeContext, type Outcome } from "../support/services.js";

const HEADER = "the-secret-of-the-endpoint";
const work = mkdtempSync(join(tmpdir(), "bluekiln-identity-"));
const certificate = join(work, "certificate.pem");
const asked: URL[] = [];
let lifetime = 3600;
let azurite: ChildProcess;
let endpoint: Server;
let account: string;

beforeAll(async () => {
  const key = join(work, "key.pem");
  const subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"];
  const files = ["-keyout", key, "-out", certificate];
  execFileSync(
    "openssl",
    ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", ...subject, ...files],
    {
      stdio: "ignore",
    },
  );
  const port = await freePort();
  const secure = ["--oauth", "basic", "--cert", certificate, "--key", key];
  azurite = (startAzurite as (folder: string, port: number, options: string[]) => ChildProcess)(
    join(work, "azurite"),
    port,
    secure,
  );
  await (waitFor as (port: number) => Promise<void>)(port);
  account = `https://127.0.0.1:${port}/devstoreaccount1`;
  // App Service's form of the endpoint
  endpoint = createServer((request, response) => {
    if (request.headers["x-identity-header"] !== HEADER) return void response.writeHead(403).end();
    asked.push(new URL(request.url!, "http://127.0.0.1"));
    const now = Math.floor(Date.now() / 1000);
    const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
    const claims = {
      aud: "https://storage.azure.com",
      iss: "https://sts.windows.net/0/",
      iat: now - 7200,
      nbf: now - 7200,
      exp: now + lifetime,
    };
    response.setHeader("content-type", "application/json");
    response.end(
      JSON.stringify({
        access_token: `${part({ alg: "none" })}.${part(claims)}.`,
        expires_on: String(now + 3600),
        resource: "https://storage.azure.com",
        token_type: "Bearer",
      }),
    );
  }).listen(0, "127.0.0.1");
  await once(endpoint, "listening");
});
afterAll(() => {
  azurite.kill("SIGKILL");
  endpoint.close();
  rmSync(work, { recursive: true, force: true });
});
afterEach(() => {
  asked.length = 0;
  lifetime = 3600;
});

async function build(env: Record<string, string> = {}): Promise<Outcome> {
  const cache = `type=azblob,name=identity,account_url=${account},account_name=devstoreaccount1`;
  const context = makeContext(work, { Dockerfile: "FROM scratch\nCOPY f /\n", f: "x" });
  const state = mkdtempSync(join(work, "state-"));
  const args = ["build", "--state-dir", state, "--cache-to", cache, "--cache-from", cache, context];
  return bluekilnAside(args, {
    IDENTITY_ENDPOINT: `http://127.0.0.1:${(endpoint.address() as AddressInfo).port}/token`,
    IDENTITY_HEADER: HEADER,
    NODE_EXTRA_CA_CERTS: certificate,
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
  lifetime = -60;
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
