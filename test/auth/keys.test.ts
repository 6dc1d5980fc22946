// The ways to sign requests that can be had with Azurite over http: account key, SAS, connection string.
import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import {
  AccountSASPermissions,
  AccountSASResourceTypes,
  AccountSASServices,
  BlobServiceClient,
  ContainerSASPermissions,
  generateAccountSASQueryParameters,
  generateBlobSASQueryParameters,
  SASProtocol,
  StorageSharedKeyCredential,
} from "@azure/storage-blob";
import { afterAll, beforeAll, expect, it } from "vitest";
import {
  bluekiln,
  freePort,
  KEY,
  makeContext,
  startAzure,
  startServices,
  type Services,
} from "../support/services.js";
// @ts-expect-error plain JavaScript, shared with the golden runner
import { waitFor } from "../golden/lib/services.mjs";

let services: Services;
const credential = new StorageSharedKeyCredential("devstoreaccount1", KEY);
const tomorrow = new Date(Date.now() + 86_400_000);

beforeAll(async () => {
  services = await startServices();
});
afterAll(() => services.stop());

function roundTrip(cache: string, env: Record<string, string> = {}): string {
  const context = makeContext(services.work, { Dockerfile: "FROM scratch\nCOPY f /\n", f: "x" });
  const build = () =>
    bluekiln(
      [
        "build",
        "--state-dir",
        mkdtempSync(join(services.work, "state-")),
        "--cache-to",
        cache,
        "--cache-from",
        cache,
        context,
      ],
      { env },
    );
  const first = build();
  expect(first.stderr).not.toContain("ERROR");
  return build().stderr;
}

it("an account key, with an API that older servers know too", async () => {
  const port = await freePort();
  const azurite = startAzure(join(services.work, "strict"), port);
  try {
    await (waitFor as (port: number) => Promise<void>)(port);
    const url = `http://127.0.0.1:${port}/devstoreaccount1`;
    const cache = `type=azblob,name=strict,account_url=${url},account_name=devstoreaccount1,secret_access_key=${KEY}`;
    expect(roundTrip(cache)).toMatch(/COPY f \/\n#\d+ CACHED/);
  } finally {
    azurite.kill("SIGKILL");
  }
});

it("an account SAS in the URL", () => {
  const sas = generateAccountSASQueryParameters(
    {
      permissions: AccountSASPermissions.parse("rwlc"),
      resourceTypes: AccountSASResourceTypes.parse("sco").toString(),
      services: AccountSASServices.parse("b").toString(),
      protocol: SASProtocol.HttpsAndHttp,
      expiresOn: tomorrow,
    },
    credential,
  ).toString();
  expect(
    roundTrip(`type=azblob,name=sas,account_url=${services.azure}?${sas},account_name=devstoreaccount1`),
  ).toContain("CACHED");
});

function containerSas(containerName: string, rights: string, expiresOn = tomorrow): string {
  const permissions = ContainerSASPermissions.parse(rights);
  const values = { containerName, permissions, protocol: SASProtocol.HttpsAndHttp, expiresOn };
  const sas = generateBlobSASQueryParameters(values, credential).toString();
  return `container=${containerName},account_url=${services.azure}?${sas},account_name=devstoreaccount1`;
}

it("a SAS for one container, which may not make containers", async () => {
  await new BlobServiceClient(services.azure, credential).createContainer("one");
  expect(roundTrip(`type=azblob,name=sas,${containerSas("one", "rwlc")}`)).toContain("CACHED");
});

it("what a SAS lacks is told, and nothing of the SAS itself", async () => {
  await new BlobServiceClient(services.azure, credential).createContainer("bound");
  const context = makeContext(services.work, { Dockerfile: "FROM scratch\nCOPY f /\n", f: "bound" });
  const build = (place: string) => {
    const args = ["--cache-to", `type=azblob,name=sas,${place}`, context];
    return bluekiln(["build", "--state-dir", mkdtempSync(join(services.work, "state-")), ...args]);
  };
  const readOnly = build(containerSas("bound", "rl"));
  expect(readOnly.status).toBe(1);
  expect(readOnly.stderr).toMatch(
    /AuthorizationPermissionMismatch \(403\); the SAS has the rights "rl"; it takes/,
  );
  const expired = build(containerSas("bound", "rwlc", new Date("2024-05-06T07:08:09Z")));
  expect(expired.status).toBe(1);
  expect(expired.stderr).toContain("the SAS expired at 2024-05-06T07:08:09Z");
  expect(readOnly.stderr + expired.stderr).not.toContain("sig=");
});

it("a wrong key is told, and is not in what is told", () => {
  const wrong = Buffer.from("a wrong key, but one of a key's form").toString("base64");
  const context = makeContext(services.work, { Dockerfile: "FROM scratch\nCOPY f /\n", f: "wrong" });
  const place = `account_url=${services.azure},account_name=devstoreaccount1,secret_access_key=${wrong}`;
  const state = mkdtempSync(join(services.work, "state-"));
  const { status, stderr } = bluekiln([
    "build",
    "--state-dir",
    state,
    "--cache-to",
    `type=azblob,name=wrong,${place}`,
    context,
  ]);
  expect(status).toBe(1);
  expect(stderr).toContain("the account key is wrong or not that of account devstoreaccount1");
  expect(stderr).not.toContain(wrong);
});

it("a connection string from the environment", () => {
  const text = `DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=${KEY};BlobEndpoint=${services.azure};`;
  expect(roundTrip("type=azblob,name=connection", { AZURE_STORAGE_CONNECTION_STRING: text })).toContain(
    "CACHED",
  );
});

it("nothing at all, for a container that everybody may read", async () => {
  const account = new BlobServiceClient(services.azure, credential);
  await account.createContainer("open", { access: "container" });
  const place = `container=open,account_url=${services.azure},account_name=devstoreaccount1`;
  const context = makeContext(services.work, { Dockerfile: "FROM scratch\nCOPY f /\n", f: "open" });
  const env = { AZURE_TOKEN_CREDENTIALS: "prod" };
  const build = (...args: string[]) => {
    const state = mkdtempSync(join(services.work, "state-"));
    return bluekiln(["build", "--progress=plain", "--state-dir", state, ...args, context], { env });
  };
  const exported = build("--cache-to", `type=azblob,name=open,${place},secret_access_key=${KEY}`);
  expect(exported.status).toBe(0);
  const out = mkdtempSync(join(services.work, "out-"));
  const imported = build("--cache-from", `type=azblob,name=open,${place}`, "--output", out);
  expect(imported.stderr).toMatch(/COPY f \/\n#\d+ CACHED/);
  expect(imported.status).toBe(0);
  // writing needs an identity, and what is not open to everybody says so
  const refused = build("--cache-to", `type=azblob,name=open,${place}`);
  expect(refused.status).toBe(1);
  await account.createContainer("closed");
  const closed = build("--cache-from", `type=azblob,name=open,${place.replace("open", "closed")}`);
  expect(closed.stderr).toContain("no Azure identity gave a token");
});
