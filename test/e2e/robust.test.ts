// Kills, Ctrl-C, builds side by side: the state directory stays good and nothing is left behind.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bluekiln, makeContext, start, startServices, type Services } from "../support/services.js";

let services: Services;
beforeAll(async () => {
  services = await startServices();
});
afterAll(() => services.stop());

const stateDir = (): string => mkdtempSync(join(services.work, "state-"));
const mountsUnder = (folder: string): string[] =>
  readFileSync("/proc/self/mounts", "utf8")
    .split("\n")
    .filter((line) => line.includes(folder));
const processesWith = (text: string): number =>
  spawnSync("pgrep", ["-f", text], { encoding: "utf8" })
    .stdout.split("\n")
    .filter((line) => line !== "").length;

function slowContext(marker: string): string {
  const dockerfile = `FROM ${services.base}\nRUN echo one > /one\nRUN sleep ${marker}\nRUN echo two > /two\n`;
  return makeContext(services.work, { Dockerfile: dockerfile });
}

async function until(condition: () => boolean, seconds = 20): Promise<void> {
  for (let i = 0; i < seconds * 20 && !condition(); i++) await sleep(50);
  expect(condition()).toBe(true);
}

describe("Ctrl-C", () => {
  it("ends the container and the build within two seconds, and says so", async () => {
    const child = start(["build", "--state-dir", stateDir(), slowContext("3331")]);
    let stderr = "";
    child.stderr!.on("data", (data: Buffer) => (stderr += data.toString()));
    await until(() => processesWith("sleep 3331") > 0);
    const before = Date.now();
    child.kill("SIGINT");
    const code = await new Promise((resolve) => child.once("close", resolve));
    expect(Date.now() - before).toBeLessThan(2000);
    expect(code).toBe(130);
    expect(stderr).toContain("Canceling the build");
    expect(stderr).toContain("context canceled");
    expect(processesWith("sleep 3331")).toBe(0);
  });
});

describe("kill -9", () => {
  it("leaves a state directory that the next build uses, and no mounts; the next build ends what still ran", async () => {
    const state = stateDir();
    const child = start(["build", "--state-dir", state, slowContext("3332")]);
    await until(() => processesWith("sleep 3332") > 0);
    child.kill("SIGKILL");
    await new Promise((resolve) => child.once("close", resolve));
    expect(mountsUnder(state)).toEqual([]);
    const next = bluekiln([
      "build",
      "--state-dir",
      state,
      makeContext(services.work, {
        Dockerfile: `FROM ${services.base}\nRUN echo one > /one\nRUN echo three\n`,
      }),
    ]);
    expect(next.status).toBe(0);
    expect(next.stderr).toMatch(/#(\d+) \[2\/3\] RUN echo one > \/one\n#\1 CACHED/);
    await until(() => processesWith("sleep 3332") === 0);
    expect(readdirSync(join(state, "run"))).toEqual([]);
  });

  it("at any moment of a build is mended by the next", async () => {
    const state = stateDir();
    const context = makeContext(services.work, {
      Dockerfile: `FROM ${services.base} AS a\nCOPY f /f\nRUN cat /f > /a && dd if=/dev/urandom of=/big bs=1M count=8 2>/dev/null\nRUN cat /a > /b\nFROM scratch\nCOPY --from=a /b /c\n`,
      f: "content",
    });
    for (let i = 0; i < 12; i++) {
      const child = start([
        "build",
        "--state-dir",
        state,
        "--output",
        `type=oci,dest=${join(services.work, "killed.tar")}`,
        context,
      ]);
      const closed = new Promise((resolve) => child.once("close", resolve));
      await sleep(100 + i * 60);
      child.kill("SIGKILL");
      await closed;
    }
    const result = bluekiln([
      "build",
      "--state-dir",
      state,
      "--output",
      `type=local,dest=${join(services.work, "mended")}`,
      context,
    ]);
    expect(result.stderr).not.toContain("ERROR");
    expect(result.status).toBe(0);
    expect(readFileSync(join(services.work, "mended", "c"), "utf8")).toBe("content");
    expect(mountsUnder(state)).toEqual([]);
  });
});

describe("builds side by side", () => {
  it("share a state directory, in several processes", async () => {
    const state = stateDir();
    const contexts = [1, 2, 3, 4].map((n) =>
      makeContext(services.work, {
        Dockerfile: `FROM ${services.base}\nRUN echo same > /same\nRUN echo ${n} > /own\n`,
      }),
    );
    const children = contexts.map((context, i) =>
      start([
        "build",
        "--debug",
        "--push",
        "-t",
        `${services.registry}/side:${i}`,
        "--state-dir",
        state,
        context,
      ]),
    );
    const failures = await Promise.all(
      children.map(async (child) => {
        let stderr = "";
        child.stderr!.on("data", (data: Buffer) => (stderr += data.toString()));
        const code = await new Promise((resolve) => child.once("close", resolve));
        return code === 0 ? "" : stderr;
      }),
    );
    expect(failures).toEqual(["", "", "", ""]);
    const again = bluekiln(["build", "--state-dir", state, contexts[2]!]);
    expect(again.stderr).toMatch(/#(\d+) \[3\/3\] RUN echo 3 > \/own\n#\1 CACHED/);
  });
});
