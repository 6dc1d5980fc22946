// Caches in a registry, in a folder, inside the image; and how their layers are compressed.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startFaultProxy } from "../support/fault-proxy.js";
import {
  bluekiln,
  bluekilnAside,
  KEY,
  makeContext,
  startServices,
  type Services,
} from "../support/services.js";

let services: Services;
let context: string;
beforeAll(async () => {
  services = await startServices();
  context = makeContext(services.work, {
    Dockerfile: [
      `FROM ${services.base} AS base`,
      "COPY f /f",
      "FROM base AS other",
      "RUN cat /f /f > /double",
      "FROM base",
      "COPY --from=other /double /double",
      "RUN md5sum /double > /sum",
      "",
    ].join("\n"),
    f: "content",
  });
});
afterAll(() => services.stop());

const STEPS = 4;
const build = (args: string[], state = mkdtempSync(join(services.work, "state-"))) => {
  const result = bluekiln(["build", "--progress=plain", "--state-dir", state, ...args, context]);
  expect(`${result.status} ${result.stderr}`).toMatch(/^0 /);
  return result;
};
/** Builds on an empty state directory. @returns how many steps were cached */
const cachedFrom = (...imports: string[]): number => {
  const { stderr } = build(imports.flatMap((text) => ["--cache-from", text]));
  return [...stderr.matchAll(/^#(\d+) \[.*\d\/\d\] (?:COPY|RUN) /gm)].filter(([, id]) =>
    new RegExp(`^#${id} CACHED$`, "m").test(stderr),
  ).length;
};

interface Json {
  readonly mediaType: string;
  readonly config?: { readonly mediaType: string };
  readonly layers?: readonly { readonly mediaType: string }[];
  readonly manifests?: readonly { readonly mediaType: string }[];
}

async function manifest(repository: string, tag: string): Promise<Json> {
  const accept = ["oci.image.index.v1", "oci.image.manifest.v1", "docker.distribution.manifest.v2"]
    .concat("docker.distribution.manifest.list.v2")
    .map((type) => `application/vnd.${type}+json`)
    .join(", ");
  const url = `http://${services.registry}/v2/${repository}/manifests/${tag}`;
  return (await (await fetch(url, { headers: { accept } })).json()) as Json;
}

describe("type=registry", () => {
  const ref = (tag: string): string => `type=registry,ref=${services.registry}/cache:${tag}`;

  it.each([
    ["image", "", "application/vnd.oci.image.manifest.v1+json"],
    ["index", ",image-manifest=false", "application/vnd.oci.image.index.v1+json"],
    ["docker", ",oci-mediatypes=false", "application/vnd.docker.distribution.manifest.list.v2+json"],
  ])("%s: every step is found again", async (tag, form, mediaType) => {
    build(["--cache-to", `${ref(tag)},mode=max${form}`]);
    expect((await manifest("cache", tag)).mediaType).toBe(mediaType);
    expect(cachedFrom(ref(tag))).toBe(STEPS);
    // a plain word is a reference
    expect(cachedFrom(`${services.registry}/cache:${tag}`)).toBe(STEPS);
  });

  it("that is not there is a warning", () => {
    const { stderr } = build(["--cache-from", ref("nothing")]);
    expect(stderr).toMatch(/cache .*\/cache:nothing is not used: .*not found/);
  });

  it("that is an image without a cache is a warning", () => {
    build(["--push", "-t", `${services.registry}/plain:1`]);
    const { stderr } = build(["--cache-from", `${services.registry}/plain:1`]);
    expect(stderr).toContain("holds no build cache");
  });
});

describe("type=local", () => {
  it("is not written for a build without layers", () => {
    const folder = join(services.work, "no-layers");
    const plain = makeContext(services.work, { Dockerfile: `FROM ${services.base}\nLABEL a=b\n` });
    const state = mkdtempSync(join(services.work, "state-"));
    const cacheTo = `type=local,dest=${folder}`;
    const result = bluekiln([
      "build",
      "--progress=plain",
      "--state-dir",
      state,
      "--cache-to",
      cacheTo,
      plain,
    ]);
    expect(result.stderr).toContain("skipping cache export for empty result");
    expect(result.status).toBe(0);
    expect(existsSync(join(folder, "index.json"))).toBe(false);
  });

  it("keeps several tags in one folder", () => {
    const folder = join(services.work, "local cache");
    build(["--cache-to", `type=local,"dest=${folder}",mode=max`]);
    build(["--cache-to", `type=local,"dest=${folder}",mode=min,tag=other`]);
    const index = JSON.parse(readFileSync(join(folder, "index.json"), "utf8")) as {
      manifests: { digest: string; annotations: Record<string, string> }[];
    };
    expect(
      index.manifests.map(({ annotations }) => annotations["org.opencontainers.image.ref.name"]),
    ).toEqual(["latest", "other"]);
    expect(readFileSync(join(folder, "oci-layout"), "utf8")).toBe('{"imageLayoutVersion":"1.0.0"}');
    expect(cachedFrom(`type=local,"src=${folder}"`)).toBe(STEPS);
    expect(cachedFrom(`type=local,"src=${folder}",tag=other`)).toBe(STEPS);
    expect(cachedFrom(`type=local,"src=${folder}",digest=${index.manifests[1]!.digest}`)).toBe(STEPS);
    expect(readdirSync(join(folder, "blobs/sha256")).filter((name) => !/^[0-9a-f]{64}$/.test(name))).toEqual(
      [],
    );
  });

  it("that is not there, or lost a layer, makes misses", () => {
    const folder = join(services.work, "lost");
    expect(build(["--cache-from", `type=local,src=${folder}`]).stderr).toContain("is not used");
    build(["--cache-to", `type=local,dest=${folder},mode=max`]);
    const blobs = join(folder, "blobs/sha256");
    for (const name of readdirSync(blobs))
      if (readFileSync(join(blobs, name))[0] === 0x1f) rmSync(join(blobs, name));
    expect(cachedFrom(`type=local,src=${folder}`)).toBe(0);
  });
});

describe("type=inline", () => {
  it("is found in the image it went with", () => {
    const name = `${services.registry}/inline:1`;
    build(["--push", "-t", name, "--cache-to", "type=inline"]);
    expect(cachedFrom(`type=registry,ref=${name}`)).toBe(STEPS);
  });
});

describe("several caches", () => {
  it("are asked in order, and what one has not the next may", () => {
    const folder = (name: string): string => join(services.work, name);
    build(["--cache-to", `type=local,dest=${folder("full")},mode=max`]);
    const imports = [`type=local,src=${folder("none")}`, `type=local,src=${folder("full")}`];
    expect(cachedFrom(...imports)).toBe(STEPS);
  });
});

describe("a slow cache", () => {
  it("is not waited for by a build that has everything locally", async () => {
    const proxy = await startFaultProxy(services.registry);
    try {
      const state = mkdtempSync(join(services.work, "state-"));
      const reference = `${proxy.address}/slow:1`;
      build(["--cache-to", `type=registry,ref=${services.registry}/slow:1,mode=max`], state);
      await proxy.setFaults([{ kind: "slow", ms: 20_000, method: "GET" }]);
      const start = Date.now();
      const args = ["build", "--progress=plain", "--state-dir", state, "--cache-from", reference, context];
      const { stderr } = await bluekilnAside(args);
      expect(stderr.match(/^#\d+ CACHED$/gm)!.length).toBeGreaterThanOrEqual(STEPS);
      expect(Date.now() - start).toBeLessThan(15_000);
    } finally {
      proxy.stop();
    }
  });
});

describe("compression", () => {
  const azure = (name: string): string =>
    `type=azblob,name=${name},account_url=${services.azure},account_name=devstoreaccount1,secret_access_key=${KEY}`;

  it.each([
    ["zstd", "application/vnd.oci.image.layer.v1.tar+zstd"],
    ["uncompressed", "application/vnd.oci.image.layer.v1.tar"],
    ["estargz", "application/vnd.oci.image.layer.v1.tar+gzip"],
  ])("%s: images and caches are packed so, and read again", async (compression, mediaType) => {
    const options = `compression=${compression},compression-level=7`;
    const name = `${services.registry}/packed:${compression}`;
    build([
      ...["--output", `type=image,name=${name},push=true,${options}`],
      ...["--cache-to", `${azure(compression)},mode=max,${options}`],
    ]);
    const types = (await manifest("packed", compression)).layers!.map((layer) => layer.mediaType);
    // the base image's layer stays what it was
    expect(types[0]).toBe("application/vnd.oci.image.layer.v1.tar+gzip");
    expect(new Set(types.slice(1))).toEqual(new Set([mediaType]));
    expect(cachedFrom(azure(compression))).toBe(STEPS);
    const files = join(services.work, `files-${compression}`);
    const again = makeContext(services.work, { Dockerfile: `FROM ${name}\nRUN cat /sum\n` });
    const state = mkdtempSync(join(services.work, "state-"));
    const result = bluekiln(["build", "--state-dir", state, "--output", files, again]);
    expect(result.status).toBe(0);
    expect(readFileSync(join(files, "double"), "utf8")).toBe("contentcontent");
  });

  it("is applied to what is packed already only by force", async () => {
    const state = mkdtempSync(join(services.work, "state-"));
    const name = `${services.registry}/forced`;
    const types = async (tag: string): Promise<string[]> =>
      (await manifest("forced", tag)).layers!.map((layer) => layer.mediaType.replace(/.*\.tar/, "tar"));
    build(["--push", "-t", `${name}:gzip`], state);
    build(["--output", `type=image,name=${name}:same,push=true,compression=zstd`], state);
    expect(new Set(await types("same"))).toEqual(new Set(["tar+gzip"]));
    build(
      ["--output", `type=image,name=${name}:zstd,push=true,compression=zstd,force-compression=true`],
      state,
    );
    expect(new Set(await types("zstd"))).toEqual(new Set(["tar+zstd"]));
    build(["--output", `type=image,name=${name}:docker,push=true,oci-mediatypes=false`], state);
    const docker = await manifest("forced", "docker");
    expect(docker.mediaType).toBe("application/vnd.docker.distribution.manifest.v2+json");
    expect(docker.config!.mediaType).toBe("application/vnd.docker.container.image.v1+json");
  });

  it.each([
    ["compression=lzma", "unsupported compression type lzma"],
    ["compression=gzip,compression-level=fast", "non-integer value fast"],
    ["compression=gzip,compression-level=12", "out of range"],
    ["force-compression=perhaps", "non-bool value perhaps"],
  ])("%s is refused", (options, message) => {
    for (const flag of [`--output=type=image,${options}`, `--cache-to=type=inline,${options}`]) {
      const result = bluekiln(["build", flag, context]);
      expect(result.stderr).toContain(message);
      expect(result.status).not.toBe(0);
    }
  });
});
