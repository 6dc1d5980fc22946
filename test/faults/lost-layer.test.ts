// What happens to a cache behind our back.
import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { BlobServiceClient, StorageSharedKeyCredential } from "@azure/storage-blob";
import { afterAll, beforeAll, expect, it } from "vitest";
import { bluekiln, KEY, makeContext, startServices, type Services } from "../support/services.js";

let services: Services;
beforeAll(async () => {
  services = await startServices();
});
afterAll(() => services.stop());

it("a layer that was removed from the container makes its step run again", async () => {
  const cache = `type=azblob,name=lost,account_url=${services.azure},account_name=devstoreaccount1,secret_access_key=${KEY}`;
  const context = makeContext(services.work, {
    Dockerfile: `FROM ${services.base}\nRUN echo 1 > /one\nRUN echo 2 > /two\n`,
  });
  const build = (...args: string[]) =>
    bluekiln(["build", "--state-dir", mkdtempSync(join(services.work, "state-")), ...args, context]);
  expect(build("--cache-to", `${cache},mode=max`).status).toBe(0);
  const container = new BlobServiceClient(
    services.azure,
    new StorageSharedKeyCredential("devstoreaccount1", KEY),
  ).getContainerClient("buildkit-cache");
  const manifest = JSON.parse(
    (await container.getBlobClient("manifests/lost").downloadToBuffer()).toString(),
  ) as {
    layers: { blob: string; parent?: number }[];
  };
  const parents = new Set(manifest.layers.map(({ parent = 0 }) => parent));
  const top = manifest.layers.findIndex((_, i) => !parents.has(i));
  await container.deleteBlob(`blobs/${manifest.layers[top]!.blob}`);

  const again = build("--cache-from", cache, "--output", join(services.work, "out"));
  expect(again.status).toBe(0);
  expect(again.stderr).toMatch(/#(\d+) \[2\/3\] RUN echo 1 > \/one\n#\1 CACHED/);
  expect(again.stderr).not.toMatch(/#(\d+) \[3\/3\] RUN echo 2 > \/two\n#\1 CACHED/);
});

it("a manifest that is no manifest is a warning, and the build goes on", async () => {
  const cache = `type=azblob,name=broken,account_url=${services.azure},account_name=devstoreaccount1,secret_access_key=${KEY}`;
  const container = new BlobServiceClient(
    services.azure,
    new StorageSharedKeyCredential("devstoreaccount1", KEY),
  ).getContainerClient("buildkit-cache");
  await container.createIfNotExists();
  for (const text of [
    "not json",
    '{"records":[{"digest":"x"}]}',
    '{"layers":[{"blob":"sha256:00","parent":0}]}',
  ]) {
    await container.getBlockBlobClient("manifests/broken").upload(text, text.length);
    const result = bluekiln([
      "build",
      "--state-dir",
      mkdtempSync(join(services.work, "state-")),
      "--cache-from",
      cache,
      makeContext(services.work, { Dockerfile: `FROM ${services.base}\nRUN true\n` }),
    ]);
    expect(result.status).toBe(0);
    expect(result.stderr).toContain("WARNING: cache azblob:broken is not used: cache manifest");
  }
});

it("a manifest with fields that nobody knows, and without sizes and times, is used", async () => {
  const cache = `type=azblob,name=older,account_url=${services.azure},account_name=devstoreaccount1,secret_access_key=${KEY}`;
  const context = makeContext(services.work, {
    Dockerfile: `FROM ${services.base}\nRUN echo 1 > /one\nRUN echo 2 > /two\n`,
  });
  const build = (...args: string[]) =>
    bluekiln(["build", "--state-dir", mkdtempSync(join(services.work, "state-")), ...args, context]);
  expect(build("--cache-to", `${cache},mode=max`).status).toBe(0);
  const blob = new BlobServiceClient(services.azure, new StorageSharedKeyCredential("devstoreaccount1", KEY))
    .getContainerClient("buildkit-cache")
    .getBlockBlobClient("manifests/older");
  const manifest = JSON.parse((await blob.downloadToBuffer()).toString()) as {
    layers: { annotations: Record<string, unknown> }[];
    records: { layers?: Record<string, unknown>[] }[];
  };
  const older = JSON.stringify({
    version: 9,
    layers: manifest.layers.map((layer) => ({
      ...layer,
      later: true,
      annotations: { mediaType: layer.annotations["mediaType"], diffID: layer.annotations["diffID"] },
    })),
    records: manifest.records.map((record) => ({
      ...record,
      layers: record.layers?.map(({ layer }) => ({ layer })),
      later: [1],
    })),
  });
  await blob.upload(older, older.length);
  const again = build("--cache-from", cache, "--output", join(services.work, "older"));
  expect(again.status).toBe(0);
  expect(again.stderr).toMatch(/#(\d+) \[3\/3\] RUN echo 2 > \/two\n#\1 CACHED/);
});
