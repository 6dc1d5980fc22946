// Builds random Dockerfiles with our daemon and with a buildkitd, and tells where they differ.
//   npm run beside -- --buildkitd PATH --buildctl PATH [--what dockerfiles|files|sources] [--compare images|caches]
//     [--from 1] [--count 100]
// A difference is a question, not a failure: versions of BuildKit differ too. The recordings (docs/dev/golden.md) decide.
import {
  chmodSync,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { parseArgs } from "node:util";
import { startDemoServices } from "../../scripts/demo-services.mjs";
import { compareCaches } from "./caches.mjs";
import { Daemon, EPOCH } from "./daemons.mjs";
import { dockerfile } from "./dockerfiles.mjs";
import { fileSteps } from "./files.mjs";
import { compareImages } from "./images.mjs";
import { sources, startOrigin } from "./sources.mjs";

const { values } = parseArgs({
  options: {
    buildkitd: { type: "string" },
    buildctl: { type: "string", default: "buildctl" },
    what: { type: "string", default: "dockerfiles" },
    compare: { type: "string", default: "images" },
    from: { type: "string", default: "1" },
    count: { type: "string", default: "100" },
  },
});
if (!values.buildkitd) throw new Error("give the other daemon: --buildkitd PATH");
const generate = { dockerfiles: dockerfile, files: fileSteps, sources }[values.what];
if (!generate) throw new Error("--what is dockerfiles, files or sources");
const compare = { images: compareImages, caches: compareCaches }[values.compare];
if (!compare) throw new Error("--compare is images or caches");

const work = mkdtempSync(join(tmpdir(), "bluekiln-beside-"));
// the SDK that looks into it is newer
const services = await startDemoServices(work, ["--skipApiVersionCheck"]);
const origin = await startOrigin(work);
const own = join(import.meta.dirname, "..", "..", "bin", "bluekilnd.js");
const daemons = {
  ours: await Daemon.start([process.execPath, own], join(work, "ours"), values.buildctl),
  theirs: await Daemon.start(
    [values.buildkitd, "--oci-worker-gc=false"],
    join(work, "theirs"),
    values.buildctl,
  ),
};

/** Files of one time, so that layers can be compared. */
function write(root, files) {
  for (const [path, file] of Object.entries(files)) {
    const full = join(root, path);
    mkdirSync(dirname(full), { recursive: true });
    const isPlain = typeof file === "string" || Buffer.isBuffer(file);
    const { link, folder, mode, data } = isPlain ? { data: file } : file;
    if (link !== undefined) symlinkSync(link, full);
    else if (folder) mkdirSync(full, { recursive: true });
    else writeFileSync(full, data);
    if (mode !== undefined) chmodSync(full, mode);
  }
  for (const path of readdirSync(root, { recursive: true })) lutimesSync(join(root, path), EPOCH, EPOCH);
  lutimesSync(root, EPOCH, EPOCH);
}

const [from, count] = [Number(values.from), Number(values.count)];
const different = [];
try {
  for (let seed = from; seed < from + count; seed++) {
    const folder = join(work, `context-${seed}`);
    const { text: Dockerfile, files, options, locals } = generate(seed, { base: services.base, origin });
    mkdirSync(folder);
    write(folder, { ...files, Dockerfile });
    const found = await compare(
      daemons,
      { folder, dockerfile: Dockerfile, options, locals },
      { seed, work, ...services },
    );
    if (Object.values(found).some((difference) => difference !== undefined)) {
      different.push(seed);
      console.log(`=== seed ${seed}\n${Dockerfile}\n${options.join(" ")}\n${JSON.stringify(found, null, 1)}`);
    }
    rmSync(folder, { recursive: true, force: true });
  }
  console.log(`${count} builds, ${different.length} different: ${different.join(" ")}`);
} finally {
  for (const daemon of Object.values(daemons)) daemon.stop();
  await setTimeout(1000);
  services.stop();
  origin.stop();
  rmSync(work, { recursive: true, force: true });
}
process.exit();
