// Where the images differ that both make of one folder, or what they tell about it.
import { spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { difference, toldBy } from "./daemons.mjs";

/** @returns differences by what differs */
export async function compareImages({ ours, theirs }, context, { work }) {
  const [a, b] = await Promise.all([
    image(ours, context, join(work, "ours.tar")),
    image(theirs, context, join(work, "theirs.tar")),
  ]);
  const error = difference([a.error], [b.error]);
  if (!a.image || !b.image) return { error };
  const layers = a.image.layers.map((layer, i) => {
    const other = b.image.layers[i];
    const isSame = layer.digest === other?.digest;
    return [`layer ${i}`, isSame ? undefined : difference(layer.entries, other?.entries ?? [])];
  });
  return {
    error,
    warnings: difference(a.warnings, b.warnings),
    steps: difference(a.steps, b.steps),
    config: difference(a.image.config, b.image.config),
    ...Object.fromEntries(layers),
  };
}

async function image(daemon, context, archive) {
  const { status, said } = await daemon.build(context, [
    ...[
      "--output",
      `type=oci,dest=${archive},rewrite-timestamp=true,compression=uncompressed,force-compression=true`,
    ],
  ]);
  const { error, steps, warnings } = toldBy(said);
  // what platforms share has the name of whichever came first
  const names = new Set(steps.map(({ name }) => name.replaceAll(/\[linux\/\S+ /g, "[PLATFORM ")));
  const read = status === 0 ? readImage(archive) : undefined;
  rmSync(archive, { force: true });
  return {
    error,
    steps: [...names].sort(),
    warnings: warnings.map((x) => JSON.stringify(x)).sort(),
    image: read,
  };
}

/** @returns the images of all platforms as one: their configs, their layers */
function readImage(archive) {
  const read = (path) => spawnSync("tar", ["-xOf", archive, path], { maxBuffer: 1 << 30 }).stdout;
  const blob = ({ digest }) => read(`blobs/${digest.replace(":", "/")}`);
  const list = (layer) =>
    spawnSync("tar", ["-tv", "--full-time", "--numeric-owner"], { input: blob(layer), encoding: "utf8" })
      .stdout;
  const config = [];
  const layers = [];
  const add = (descriptor) => {
    const manifest = JSON.parse(blob(descriptor));
    if (manifest.manifests) return manifest.manifests.forEach(add);
    if (descriptor.annotations?.["vnd.docker.reference.type"]) return;
    const { rootfs: _, ...rest } = JSON.parse(blob(manifest.config));
    const shown = JSON.stringify([descriptor.platform, rest], null, 1);
    config.push(...shown.replaceAll(/\[linux\/\S+ /g, "[PLATFORM ").split("\n"));
    for (const layer of manifest.layers ?? [])
      layers.push({ digest: layer.digest, entries: list(layer).split("\n") });
  };
  JSON.parse(read("index.json")).manifests.forEach(add);
  return { config, layers };
}
