// The demo: a build with its cache in Azure (Azurite here), then the same on a "fresh machine" from the cache alone.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startDemoServices } from "./demo-services.mjs";

const root = join(import.meta.dirname, "..");
const work = mkdtempSync(join(tmpdir(), "bluekiln-demo-"));
const services = await startDemoServices(work);

function build(tag, state, extra = []) {
  const cache = `type=azblob,name=hello,account_url=${services.azure},account_name=devstoreaccount1,secret_access_key=${services.key}`;
  const args = [
    "build",
    "--push",
    "-t",
    `${services.registry}/hello:${tag}`,
    "--build-arg",
    `BASE=${services.base}`,
  ];
  const start = performance.now();
  const result = spawnSync(
    process.execPath,
    [
      join(root, "bin/bluekiln.js"),
      ...args,
      "--state-dir",
      state,
      "--cache-to",
      `${cache},mode=max`,
      "--cache-from",
      cache,
      ...extra,
      join(root, "examples/hello"),
    ],
    { encoding: "utf8" },
  );
  const seconds = ((performance.now() - start) / 1000).toFixed(2);
  if (result.status !== 0) {
    process.stderr.write(result.stderr);
    throw new Error("the build failed");
  }
  const steps = [...result.stderr.matchAll(/^#(\d+) (\[[^\]]*\d+\/\d+\] .*)$/gm)];
  const cached = steps.filter((match) => new RegExp(`^#${match[1]} CACHED$`, "m").test(result.stderr)).length;
  return { seconds, steps: steps.length, cached };
}

try {
  console.log(`registry ${services.registry}, Azure ${services.azure} (Azurite)\n`);
  const first = build("1", join(work, "state"));
  console.log(
    `1. built and pushed, cache exported         ${first.seconds} s   ${first.cached} of ${first.steps} steps cached`,
  );
  rmSync(join(work, "state"), { recursive: true, force: true });
  console.log("2. local state thrown away");
  const second = build("2", join(work, "fresh"));
  console.log(
    `3. the same build on an empty machine       ${second.seconds} s   ${second.cached} of ${second.steps} steps cached`,
  );
  const folder = join(work, "run");
  const check = spawnSync(
    process.execPath,
    [
      join(root, "bin/bluekiln.js"),
      "build",
      "--quiet",
      "--state-dir",
      join(work, "run-state"),
      "--output",
      folder,
      "-",
    ],
    {
      input: `FROM ${services.registry}/hello:2 AS image\nRUN cat /greeting.txt > /said\nFROM scratch\nCOPY --from=image /said /\n`,
      encoding: "utf8",
    },
  );
  if (check.status !== 0) throw new Error(check.stderr);
  console.log(
    `4. the image, pulled and run, says          ${readFileSync(join(folder, "said"), "utf8").trim()}`,
  );
  if (second.cached !== second.steps) throw new Error("not every step was cached");
} finally {
  services.stop();
  rmSync(work, { recursive: true, force: true });
}
