// A registry that wants to know who pushes: credentials from docker's config file.
import { spawn, type ChildProcess } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { bluekiln, freePort, makeContext } from "../support/services.js";
// @ts-expect-error plain JavaScript, shared with the golden runner
import { waitFor } from "../golden/lib/services.mjs";

/** user "builder", password "pass word" */
const HTPASSWD = "builder:$2b$04$zTQXG2medmg1tTKT4Ivhsucat50RXhA7LbqR.mAnClMCI3802/BTC\n";

let work: string;
let registry: string;
let child: ChildProcess;
beforeAll(async () => {
  work = mkdtempSync(join(tmpdir(), "bluekiln-auth-"));
  const port = await freePort();
  registry = `127.0.0.1:${port}`;
  writeFileSync(join(work, "htpasswd"), HTPASSWD);
  const auth = `auth: {htpasswd: {realm: test, path: ${join(work, "htpasswd")}}}`;
  const storage = `storage: {filesystem: {rootdirectory: ${join(work, "data")}}}`;
  writeFileSync(
    join(work, "registry.yml"),
    `version: 0.1\nlog: {level: error}\n${storage}\n${auth}\nhttp: {addr: "${registry}"}\n`,
  );
  child = spawn("docker-registry", ["serve", join(work, "registry.yml")], { stdio: "ignore" });
  await (waitFor as (port: number) => Promise<void>)(port);
});
afterAll(() => {
  child.kill("SIGKILL");
  rmSync(work, { recursive: true, force: true });
});

function push(config: object) {
  const folder = mkdtempSync(join(work, "docker-"));
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "config.json"), JSON.stringify(config));
  const context = makeContext(work, { Dockerfile: "FROM scratch\nCOPY f /\n", f: "1" });
  const state = mkdtempSync(join(work, "state-"));
  return bluekiln(["build", "--push", "-t", `${registry}/private:1`, "--state-dir", state, context], {
    env: { DOCKER_CONFIG: folder },
  });
}

it("takes a login from the config file", () => {
  const auth = Buffer.from("builder:pass word").toString("base64");
  const result = push({ auths: { [registry]: { auth } } });
  expect(result.stderr).not.toContain("ERROR");
  expect(result.status).toBe(0);
});

it("says that it has no login, or a wrong one, and never shows the password", () => {
  expect(push({}).stderr).toContain("no basic auth credentials");
  const auth = Buffer.from("builder:wr0ng-pass").toString("base64");
  const wrong = push({ auths: { [registry]: { auth } } });
  expect(wrong.status).toBe(1);
  expect(wrong.stderr).toContain("unexpected status: 401");
  expect(wrong.stderr).not.toContain("wr0ng-pass");
  expect(wrong.stderr).not.toContain(auth);
});
