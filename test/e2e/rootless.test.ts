// An ordinary user builds too, in a user namespace, with no more than the kernel gives everybody.
import { spawnSync } from "node:child_process";
import { chmodSync, chownSync, mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { makeContext, ROOT, startServices, type Services } from "../support/services.js";

const NOBODY = 65534;

let services: Services;
beforeAll(async () => {
  services = await startServices();
  chmodSync(services.work, 0o755);
});
afterAll(() => services.stop());

/** The checkout may lie where only root can look: then there is nothing for another user to run. */
const reachable = (): boolean =>
  spawnSync(process.execPath, [join(ROOT, "bin", "bluekiln.js"), "version"], {
    uid: NOBODY,
    gid: NOBODY,
    cwd: tmpdir(),
  }).status === 0;
const namespaces =
  spawnSync("unshare", ["--user", "--map-root-user", "true"], { uid: NOBODY, gid: NOBODY }).status === 0;

describe.runIf(process.getuid?.() === 0 && namespaces && reachable())("an ordinary user", () => {
  it("builds, runs steps, and finds everything cached the second time", () => {
    const state = mkdtempSync(join(services.work, "user-"));
    chownSync(state, NOBODY, NOBODY);
    const context = makeContext(services.work, {
      Dockerfile: `FROM ${services.base} AS a\nCOPY f /f\nRUN cat /f > /g && id -u > /id && rm /etc/group\nFROM scratch\nCOPY --from=a /g /id /\n`,
      f: "mine",
    });
    chmodSync(context, 0o755);
    const build = () =>
      spawnSync(
        process.execPath,
        [
          join(ROOT, "bin", "bluekiln.js"),
          "build",
          "--state-dir",
          join(state, "s"),
          "--output",
          join(state, "out"),
          context,
        ],
        {
          encoding: "utf8",
          uid: NOBODY,
          gid: NOBODY,
          cwd: tmpdir(),
          env: { ...process.env, HOME: state },
        },
      );
    const first = build();
    expect(first.stderr).not.toContain("ERROR");
    expect(readFileSync(join(state, "out", "g"), "utf8")).toBe("mine");
    expect(readFileSync(join(state, "out", "id"), "utf8")).toBe("0\n");
    expect(build().stderr.match(/CACHED/g)!.length).toBeGreaterThanOrEqual(3);
  });
});
