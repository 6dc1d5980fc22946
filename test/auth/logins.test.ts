// Every other source of tokens that DefaultAzureCredential knows, in every cloud: a service principal's secret or
// certificate, workload identity, the logins of az and azd.
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { AzureHosts, CUSTOM_DOMAIN, WRONG_SECRET } from "../support/azure-hosts.js";
import { bluekilnAside, KEY, makeContext } from "../support/services.js";

const TENANT = "aaaaaaaa-0000-1111-2222-bbbbbbbbbbbb";
const CLIENT = "11111111-2222-3333-4444-555555555555";
const SERVICE_PRINCIPAL = { AZURE_TENANT_ID: TENANT, AZURE_CLIENT_ID: CLIENT };
const PUBLIC = "account_url=https://devstoreaccount1.blob.core.windows.net";

const work = mkdtempSync(join(tmpdir(), "bluekiln-logins-"));
let azure: AzureHosts;

beforeAll(async () => {
  azure = await AzureHosts.start(work);
});
afterAll(() => {
  azure.stop();
  rmSync(work, { recursive: true, force: true });
});
afterEach(() => {
  azure.asked.length = 0;
  azure.lifetime = 3600;
});

let builds = 0;

/** Exports a cache and imports it on another machine. */
async function roundTrip(account: string, env: Record<string, string>, more = ""): Promise<void> {
  const cache = `type=azblob,name=n${++builds},${account}`;
  const context = makeContext(work, { Dockerfile: `FROM scratch\n${more}COPY f /\n`, f: `${builds}` });
  for (const last of [/COPY f \/\n#\d+ DONE/, /COPY f \/\n#\d+ CACHED/]) {
    const state = mkdtempSync(join(work, "state-"));
    const args = ["build", "--state-dir", state, "--cache-to", cache, "--cache-from", cache, context];
    const { status, stderr } = await bluekilnAside(args, { ...azure.environment, ...env });
    expect(stderr).not.toContain("ERROR");
    expect(stderr).toMatch(last);
    expect(status).toBe(0);
  }
}

/** A folder for PATH with a command that writes down how it was called and gives a token. */
function login(name: string, answer: object): { path: string; calls: () => string } {
  const folder = join(work, `bin-${name}`);
  mkdirSync(folder, { recursive: true });
  const calls = join(folder, "calls");
  const file = join(folder, name);
  writeFileSync(file, `#!/bin/sh\necho "$@" >>${calls}\ncat <<'END'\n${JSON.stringify(answer)}\nEND\n`);
  chmodSync(file, 0o755);
  return { path: `${folder}:${process.env["PATH"]}`, calls: () => readFileSync(calls, "utf8") };
}

it("a service principal's secret", async () => {
  await roundTrip(PUBLIC, { ...SERVICE_PRINCIPAL, AZURE_CLIENT_SECRET: "s3cret" });
  const { host, tenant, form } = azure.asked[0]!;
  expect([host, tenant]).toEqual(["login.microsoftonline.com", TENANT]);
  expect(form.get("client_id")).toBe(CLIENT);
  expect(form.get("client_secret")).toBe("s3cret");
  expect(form.get("scope")).toContain("https://storage.azure.com/.default");
});

it("a service principal's certificate", async () => {
  const both = join(work, "principal.pem");
  writeFileSync(both, readFileSync(azure.key, "utf8") + readFileSync(azure.certificate, "utf8"));
  await roundTrip(PUBLIC, { ...SERVICE_PRINCIPAL, AZURE_CLIENT_CERTIFICATE_PATH: both });
  const [head, claims, signature] = azure.asked[0]!.form.get("client_assertion")!.split(".");
  expect(JSON.parse(Buffer.from(claims!, "base64url").toString())).toMatchObject({ iss: CLIENT });
  writeFileSync(join(work, "signed"), `${head}.${claims}`);
  writeFileSync(join(work, "signature"), Buffer.from(signature!, "base64url"));
  const key = execFileSync("openssl", ["x509", "-in", azure.certificate, "-noout", "-pubkey"]);
  writeFileSync(join(work, "public.pem"), key);
  const { alg } = JSON.parse(Buffer.from(head!, "base64url").toString()) as { alg: string };
  const pss = alg.startsWith("PS") ? ["-sigopt", "rsa_padding_mode:pss"] : [];
  const verify = ["dgst", "-sha256", ...pss, "-verify", "public.pem", "-signature", "signature", "signed"];
  expect(execFileSync("openssl", verify, { cwd: work, encoding: "utf8" })).toContain("Verified OK");
});

it("a workload's identity, chosen by client_id and tenant_id", async () => {
  const token = join(work, "federated");
  writeFileSync(token, "the.workload's.token");
  const other = "99999999-2222-3333-4444-555555555555";
  const tenant = "cccccccc-0000-1111-2222-bbbbbbbbbbbb";
  const env = { ...SERVICE_PRINCIPAL, AZURE_FEDERATED_TOKEN_FILE: token };
  await roundTrip(PUBLIC, env);
  expect(azure.asked[0]!.form.get("client_assertion")).toBe("the.workload's.token");
  expect([azure.asked[0]!.tenant, azure.asked[0]!.form.get("client_id")]).toEqual([TENANT, CLIENT]);
  azure.asked.length = 0;
  await roundTrip(`${PUBLIC},client_id=${other},tenant_id=${tenant}`, env);
  expect([azure.asked[0]!.tenant, azure.asked[0]!.form.get("client_id")]).toEqual([tenant, other]);
});

it("the login of az", async () => {
  const times = { expiresOn: "2999-01-01 00:00:00.000000", expires_on: Math.floor(Date.now() / 1000) + 3600 };
  const { path, calls } = login("az", { accessToken: azure.token(), tokenType: "Bearer", ...times });
  await roundTrip(`${PUBLIC},tenant_id=${TENANT}`, { PATH: path });
  expect(calls()).toContain(
    `account get-access-token --output json --resource https://storage.azure.com --tenant ${TENANT}`,
  );
});

it("the login of azd", async () => {
  const { path, calls } = login("azd", { token: azure.token(), expiresOn: "2999-01-01T00:00:00Z" });
  await roundTrip(PUBLIC, { PATH: path });
  expect(calls()).toContain("auth token --output json");
  expect(calls()).toContain("https://storage.azure.com/.default");
});

it("an identity of another cloud", async () => {
  await roundTrip("account_url=https://devstoreaccount1.blob.core.chinacloudapi.cn", {
    ...SERVICE_PRINCIPAL,
    AZURE_CLIENT_SECRET: "s3cret",
    AZURE_AUTHORITY_HOST: "https://login.chinacloudapi.cn",
  });
  expect(new Set(azure.asked.map(({ host }) => host))).toEqual(new Set(["login.partner.microsoftonline.cn"]));
});

it("a secret that Entra refuses is told with Entra's words", async () => {
  const cache = `type=azblob,${PUBLIC}`;
  const context = makeContext(work, { Dockerfile: "FROM scratch\nCOPY f /\n", f: "x" });
  const { status, stderr } = await bluekilnAside(
    ["build", "--state-dir", mkdtempSync(join(work, "state-")), "--cache-to", cache, context],
    { ...azure.environment, ...SERVICE_PRINCIPAL, AZURE_CLIENT_SECRET: WRONG_SECRET },
  );
  expect(status).toBe(1);
  expect(stderr).toMatch(/no Azure identity gave a token .*: AADSTS7000215: Invalid client secret provided;/);
});

it("keys where the account has another suffix, or a domain of its own", async () => {
  const key = `secret_access_key=${KEY}`;
  await roundTrip(`account_url=https://devstoreaccount1.blob.core.usgovcloudapi.net,${key}`, {});
  await roundTrip(`account_url=https://${CUSTOM_DOMAIN},account_name=devstoreaccount1,${key}`, {});
  const connection = `DefaultEndpointsProtocol=https;AccountName=devstoreaccount1;AccountKey=${KEY};EndpointSuffix=core.chinacloudapi.cn`;
  await roundTrip("container=suffix", { AZURE_STORAGE_CONNECTION_STRING: connection });
});

it("tokens that end during a build are followed by others", async () => {
  azure.lifetime = 4;
  const slow = createServer((_request, response) => void setTimeout(() => response.end("late"), 6000));
  await once(slow.listen(0, "127.0.0.1"), "listening");
  const url = `http://127.0.0.1:${(slow.address() as AddressInfo).port}/f`;
  try {
    await roundTrip(PUBLIC, { ...SERVICE_PRINCIPAL, AZURE_CLIENT_SECRET: "s3cret" }, `ADD ${url} /\n`);
  } finally {
    slow.close();
  }
  // in each of two builds one for the import and one for the export
  expect(azure.asked.length).toBeGreaterThanOrEqual(4);
});
