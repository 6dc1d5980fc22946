// The promise of the README: build with the cache in Azure, again on a fresh machine, everything cached.
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bluekiln, KEY, makeContext, ROOT, startServices, type Services } from "../support/services.js";

let services: Services;
beforeAll(async () => {
  services = await startServices();
});
afterAll(() => services.stop());

const cache = (name: string, extra = ""): string =>
  `type=azblob,name=${name},account_url=${services.azure},account_name=devstoreaccount1,secret_access_key=${KEY}${extra}`;
const stateDir = (): string => mkdtempSync(join(services.work, "state-"));

async function layersOf(repository: string, tag: string): Promise<string[]> {
  const response = await fetch(`http://${services.registry}/v2/${repository}/manifests/${tag}`, {
    headers: { accept: "application/vnd.oci.image.manifest.v1+json" },
  });
  const manifest = (await response.json()) as { layers: { digest: string }[] };
  return manifest.layers.map((layer) => layer.digest);
}

function buildHello(tag: string, state: string, extra: string[] = []) {
  const name = `${services.registry}/hello:${tag}`;
  const args = ["build", "--push", "-t", name, "--state-dir", state, "--build-arg", `BASE=${services.base}`];
  return bluekiln([...args, ...extra, join(ROOT, "examples/hello")]);
}

function steps(stderr: string): { step: string; cached: boolean }[] {
  return [...stderr.matchAll(/^#(\d+) (\[[^\]]*\d+\/\d+\] .*)$/gm)].map((match) => ({
    step: match[2]!,
    cached: new RegExp(`^#${match[1]} CACHED$`, "m").test(stderr),
  }));
}

describe("a cache in Azure", () => {
  it("makes every step of the same build on an empty state directory CACHED, with the same layers", async () => {
    const first = buildHello("1", stateDir(), [
      "--cache-to",
      cache("hello", ",mode=max"),
      "--cache-from",
      cache("hello"),
    ]);
    expect(first.stderr).toContain("exporting cache to Azure Blob Storage");
    expect(first.status).toBe(0);
    const second = buildHello("2", stateDir(), ["--cache-from", cache("hello")]);
    expect(second.status).toBe(0);
    expect(steps(second.stderr).length).toBeGreaterThanOrEqual(5);
    expect(steps(second.stderr).filter(({ cached }) => !cached)).toEqual([]);
    expect(await layersOf("hello", "2")).toEqual(await layersOf("hello", "1"));
  });

  it("downloads no layer for a build that is pushed where the layers are", () => {
    const state = stateDir();
    expect(buildHello("3", state, ["--cache-from", cache("hello")]).status).toBe(0);
    const blobs = readdirSync(join(state, "content/sha256")).map((name) =>
      readFileSync(join(state, "content/sha256", name)),
    );
    expect(blobs.filter((data) => data[0] === 0x1f && data[1] === 0x8b)).toEqual([]);
  });

  it("is complete after an export from a build that was cached", () => {
    expect(
      buildHello("4", stateDir(), [
        "--cache-from",
        cache("hello"),
        "--cache-to",
        cache("hello2", ",mode=max"),
      ]).status,
    ).toBe(0);
    const again = buildHello("5", stateDir(), ["--cache-from", cache("hello2")]);
    expect(steps(again.stderr).filter(({ cached }) => !cached)).toEqual([]);
  });

  it("runs only what a changed file needs", () => {
    const dockerfile = `FROM ${services.base}\nCOPY a /a\nRUN cat /a > /b\nCOPY c /c\nRUN cat /c > /d\n`;
    const context = makeContext(services.work, { Dockerfile: dockerfile, a: "a", c: "c" });
    const build = (): string =>
      bluekiln([
        "build",
        "--state-dir",
        stateDir(),
        "--cache-to",
        cache("change", ",mode=max"),
        "--cache-from",
        cache("change"),
        context,
      ]).stderr;
    build();
    const changed = makeContext(services.work, { Dockerfile: dockerfile, a: "a", c: "changed" });
    const text = bluekiln([
      "build",
      "--state-dir",
      stateDir(),
      "--cache-from",
      cache("change"),
      changed,
    ]).stderr;
    expect(
      steps(text)
        .filter(({ cached }) => !cached)
        .map(({ step }) => step),
    ).toEqual(["[4/5] COPY c /c", "[5/5] RUN cat /c > /d"]);
  });

  it("leaves the results of all steps behind, for builds that do without it", () => {
    const dockerfile = (last: string): string =>
      `FROM ${services.base}\nRUN echo 1 > /1\nRUN echo 2 > /2\nRUN ${last}\n`;
    const context = makeContext(services.work, { Dockerfile: dockerfile("true") });
    const build = (state: string, folder: string, ...extra: string[]): string => {
      const output = `type=oci,dest=${join(services.work, "left.tar")}`;
      return bluekiln(["build", "--state-dir", state, "--output", output, ...extra, folder]).stderr;
    };
    build(stateDir(), context, "--cache-to", cache("left", ",mode=max"));
    const state = stateDir();
    build(state, context, "--cache-from", cache("left"));
    const changed = makeContext(services.work, { Dockerfile: dockerfile("echo changed") });
    expect(
      steps(build(state, changed))
        .filter(({ cached }) => !cached)
        .map(({ step }) => step),
    ).toEqual(["[4/4] RUN echo changed"]);
  });

  it("is no error where it is missing, or where nobody listens", () => {
    const missing = buildHello("6", stateDir(), ["--cache-from", cache("never-written")]);
    expect(missing.status).toBe(0);
    const nowhere = cache("hello").replace(services.azure, "http://127.0.0.1:9/devstoreaccount1");
    const unreachable = buildHello("7", stateDir(), ["--cache-from", nowhere]);
    expect(unreachable.status).toBe(0);
    expect(unreachable.stderr).toContain("WARNING: cache azblob:hello is not used");
  });

  it("fails the build where it cannot be exported, after the push, unless the error is to be ignored", async () => {
    const nowhere = cache("hello").replace(services.azure, "http://127.0.0.1:9/devstoreaccount1");
    const failed = buildHello("8", stateDir(), ["--cache-to", nowhere]);
    expect(failed.status).toBe(1);
    expect(await layersOf("hello", "8")).toHaveLength(2);
    const ignored = buildHello("9", stateDir(), ["--cache-to", `${nowhere},ignore-error=true`]);
    expect(ignored.status).toBe(0);
    expect(ignored.stderr).toContain("WARNING: cache export failed and is ignored");
  });

  it("takes its account from the environment as the documentation of BuildKit has it", () => {
    const env = {
      BUILDKIT_AZURE_STORAGE_ACCOUNT_URL: services.azure,
      BUILDKIT_AZURE_STORAGE_ACCOUNT_NAME: "devstoreaccount1",
      BUILDKIT_AZURE_STORAGE_CONTAINER: "from-environment",
      BUILDKIT_AZURE_STORAGE_PREFIX: "team/",
    };
    const context = makeContext(services.work, { Dockerfile: "FROM scratch\nCOPY f /\n", f: "1" });
    const args = [
      "--cache-to",
      `type=azblob,name=env,secret_access_key=${KEY}`,
      "--cache-from",
      `type=azblob,name=env,secret_access_key=${KEY}`,
    ];
    expect(bluekiln(["build", "--state-dir", stateDir(), ...args, context], { env }).status).toBe(0);
    const again = bluekiln(["build", "--state-dir", stateDir(), ...args, context], { env });
    expect(steps(again.stderr)).toEqual([{ step: "[1/1] COPY f /", cached: true }]);
  });

  it("never shows or stores the key", () => {
    const state = stateDir();
    const metadata = join(services.work, "metadata.json");
    const args = [
      "--debug",
      "--metadata-file",
      metadata,
      "--cache-to",
      cache("keys", ",mode=max"),
      "--cache-from",
      cache("keys"),
    ];
    const good = buildHello("10", state, args);
    const wrong = KEY.replace("Eby8", "AAAA");
    const bad = buildHello("11", stateDir(), ["--debug", "--cache-to", cache("keys").replace(KEY, wrong)]);
    expect(bad.status).toBe(1);
    expect(bad.stderr).toContain("the account key is wrong");
    const stored = readdirSync(state, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => readFileSync(join(entry.parentPath, entry.name), "latin1"));
    const everything = [
      good.stdout,
      good.stderr,
      bad.stdout,
      bad.stderr,
      readFileSync(metadata, "utf8"),
      ...stored,
    ].join("\n");
    expect(everything).not.toContain(KEY);
    expect(everything).not.toContain(wrong);
    rmSync(state, { recursive: true, force: true });
  });
});
