// Images that others made, unpacked: many layers at once, archives that leave folders out.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { bluekiln, makeContext } from "../support/services.js";

const work = mkdtempSync(join(tmpdir(), "bluekiln-base-"));
afterAll(() => rmSync(work, { recursive: true }));

/** An OCI layout with one image. @param layers what tar is told for each, in the folder `tree` */
function makeLayout(tree: string, layers: readonly (readonly string[])[]): string {
  const layout = mkdtempSync(join(work, "layout-"));
  mkdirSync(join(layout, "blobs", "sha256"), { recursive: true });
  const put = (mediaType: string, data: Buffer | object) => {
    const bytes = Buffer.isBuffer(data) ? data : Buffer.from(JSON.stringify(data));
    const hex = createHash("sha256").update(bytes).digest("hex");
    writeFileSync(join(layout, "blobs", "sha256", hex), bytes);
    return { mediaType, digest: `sha256:${hex}`, size: bytes.length };
  };
  const type = (name: string): string => `application/vnd.oci.image.${name}`;
  const tars = layers.map((args) =>
    put(type("layer.v1.tar"), execFileSync("tar", ["-C", tree, "--no-recursion", "-cf", "-", ...args])),
  );
  const config = put(type("config.v1+json"), {
    architecture: process.arch === "arm64" ? "arm64" : "amd64",
    os: "linux",
    rootfs: { type: "layers", diff_ids: tars.map(({ digest }) => digest) },
  });
  const manifest = put(type("manifest.v1+json"), { schemaVersion: 2, config, layers: tars });
  writeFileSync(join(layout, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}');
  const named = { ...manifest, annotations: { "org.opencontainers.image.ref.name": "v1" } };
  writeFileSync(join(layout, "index.json"), JSON.stringify({ schemaVersion: 2, manifests: [named] }));
  return layout;
}

/** @returns where the image with one more file was written to */
function unpack(layout: string): string {
  const out = mkdtempSync(join(work, "out-"));
  const context = makeContext(work, { Dockerfile: "FROM img\nCOPY more /\n", more: "" });
  const named = ["--build-context", `img=oci-layout://${layout}:v1`];
  const state = mkdtempSync(join(work, "state-"));
  const { status, stderr } = bluekiln(["build", "--state-dir", state, ...named, "--output", out, context]);
  expect(stderr).not.toContain("ERROR");
  expect(status).toBe(0);
  return out;
}

it("folders that a layer leaves out look as in the layers below", () => {
  const tree = mkdtempSync(join(work, "tree-"));
  mkdirSync(join(tree, "a", "b"), { recursive: true });
  for (const name of ["a/f", "a/b/f", "a/b/g"]) writeFileSync(join(tree, name), name);
  chmodSync(join(tree, "a", "b"), 0o2710);
  chownSync(join(tree, "a", "b"), 12, 34);
  utimesSync(join(tree, "a", "b"), 1e9, 1e9);
  chmodSync(join(tree, "a"), 0o751);
  utimesSync(join(tree, "a"), 1.1e9, 1.1e9);
  const out = unpack(makeLayout(tree, [["a", "a/b"], ["a/b/f"], ["a/f"], ["a/b/g"]]));
  const [a, b] = ["a", "a/b"].map((name) => lstatSync(join(out, name)));
  expect([a!.mode & 0o7777, a!.mtimeMs / 1000]).toEqual([0o751, 1.1e9]);
  expect([b!.mode & 0o7777, b!.uid, b!.gid, b!.mtimeMs / 1000]).toEqual([0o2710, 12, 34, 1e9]);
  for (const name of ["a/f", "a/b/f", "a/b/g"]) expect(readFileSync(join(out, name), "utf8")).toBe(name);
});

it("what a layer above replaces or removes is as it says, however many there are", () => {
  const tree = mkdtempSync(join(work, "tree-"));
  const names = Array.from({ length: 30 }, (_, i) => `f${i}`);
  const layers = names.map((name, i) => {
    // large ones below, so that those above are done first
    writeFileSync(join(tree, name), name.repeat((30 - i) * 10_000));
    const removed = i % 3 === 2 ? [`.wh.f${i - 1}`] : [];
    for (const whiteout of removed) writeFileSync(join(tree, whiteout), "");
    return [name, ...removed];
  });
  const out = unpack(makeLayout(tree, layers));
  names.forEach((name, i) => {
    const content = i % 3 === 1 ? undefined : name.repeat((30 - i) * 10_000);
    const stat = lstatSync(join(out, name), { throwIfNoEntry: false });
    expect(stat && readFileSync(join(out, name), "utf8")).toBe(content);
  });
});

it("a broken layer fails the build with its name, whatever is unpacked beside it", () => {
  const tree = mkdtempSync(join(work, "tree-"));
  for (const name of ["a", "b", "c"]) writeFileSync(join(tree, name), name.repeat(1_000_000));
  const layout = makeLayout(tree, [["a"], ["b"], ["c"]]);
  const { manifests } = JSON.parse(readFileSync(join(layout, "index.json"), "utf8")) as {
    manifests: { digest: string }[];
  };
  const blob = (digest: string): string => join(layout, "blobs", "sha256", digest.slice(7));
  const manifest = JSON.parse(readFileSync(blob(manifests[0]!.digest), "utf8")) as {
    layers: { digest: string }[];
  };
  const broken = manifest.layers[1]!.digest;
  const bytes = readFileSync(blob(broken));
  bytes[600] = 0;
  writeFileSync(blob(broken), bytes);
  const context = makeContext(work, { Dockerfile: "FROM img\nCOPY more /\n", more: "" });
  const named = ["--build-context", `img=oci-layout://${layout}:v1`];
  const state = mkdtempSync(join(work, "state-"));
  const args = ["build", "--state-dir", state, ...named, "--output", join(work, "never"), context];
  const { status, stderr } = bluekiln(args);
  expect(status).toBe(1);
  expect(stderr).toContain(broken);
});
