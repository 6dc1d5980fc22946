// Frontends that are images, asked for by a syntax line.
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { build as bundle } from "esbuild";
import { afterAll, beforeAll, expect, it } from "vitest";
import { startDaemon, type TestDaemon } from "../support/daemon.js";
import { bluekiln, makeContext, startServices, type Services } from "../support/services.js";

let services: Services;
let daemon: TestDaemon;
let image: string;
beforeAll(async () => {
  services = await startServices();
  daemon = await startDaemon(services.work);
  image = `${services.registry}/frontend:1`;
  const folder = makeContext(services.work, {
    Dockerfile: `FROM scratch\nCOPY root /\nENTRYPOINT ["/node", "/frontend.mjs"]\n`,
  });
  const root = join(folder, "root");
  mkdirSync(root);
  copyFileSync(process.execPath, join(root, "node"));
  const libraries = execFileSync("ldd", [process.execPath], { encoding: "utf8" }).matchAll(/(\/\S+)/g);
  for (const [, path] of libraries) {
    mkdirSync(join(root, dirname(path!)), { recursive: true });
    copyFileSync(path!, join(root, path!));
  }
  const entry = join(import.meta.dirname, "..", "support", "frontend-image.mjs");
  const outfile = join(root, "frontend.mjs");
  await bundle({
    entryPoints: [entry],
    outfile,
    bundle: true,
    platform: "node",
    format: "esm",
    logLevel: "silent",
  });
  const state = ["--state-dir", join(services.work, "frontend-state")];
  const made = bluekiln(["build", "--push", "-t", image, ...state, folder]);
  if (made.status !== 0) throw new Error(made.stderr);
});
afterAll(async () => {
  await daemon.stop();
  services.stop();
});

const folder = (): string => {
  const made = mkdtempSync(join(services.work, "syntax-"));
  writeFileSync(join(made, "Dockerfile"), `# syntax=${image}\nwhatever it wants\n`);
  return made;
};

it("makes the build's result", async () => {
  const out = mkdtempSync(join(services.work, "out-"));
  const { status, stderr } = await daemon.buildx([
    "build",
    "--build-arg",
    "WORD=heard",
    "--output",
    out,
    folder(),
  ]);
  expect(`${status} ${stderr}`).toMatch(/^0 /);
  expect(readFileSync(join(out, "said"), "utf8")).toBe(`heard # syntax=${image}\n`);
});

it("fails the build with what it returns, or says before it dies", async () => {
  const failed = await daemon.buildx(["build", "--build-arg", "FAIL=on purpose", folder()]);
  expect(failed.status).toBe(1);
  expect(failed.stderr).toContain("failed: on purpose");
  const died = await daemon.buildx(["build", "--build-arg", "DIE=1", folder()]);
  expect(died.status).toBe(1);
  expect(died.stderr).toMatch(/exit code 9: dying words/);
});
