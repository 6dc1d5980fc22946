// Kills, Ctrl-C, builds side by side: the state directory stays good and nothing is left behind.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startDaemon } from "../support/daemon.js";
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

describe("a step that fails", () => {
  const dockerfile = (marker: string): string =>
    [
      `FROM ${services.base} AS slow`,
      `RUN sleep ${marker}`,
      `FROM ${services.base} AS bad`,
      "RUN sleep 0.5; false",
      "FROM scratch",
      "COPY --from=slow / /",
      "COPY --from=bad / /",
      "",
    ].join("\n");

  it("ends the others, and the build with its own error", () => {
    const context = makeContext(services.work, { Dockerfile: dockerfile("3341") });
    const before = Date.now();
    const result = bluekiln(["build", "--progress=plain", "--state-dir", stateDir(), context]);
    expect(Date.now() - before).toBeLessThan(20_000);
    expect(result.status).toBe(1);
    expect(result.stderr).toMatch(/#(\d+) \[slow 2\/2\] RUN sleep 3341[^]*#\1 CANCELED/);
    expect(result.stderr).toMatch(
      /ERROR: failed to build: .*did not complete successfully: exit code: 1\s*$/,
    );
    expect(result.stderr).not.toContain("Transaction");
    expect(processesWith("sleep 3341")).toBe(0);
  });

  it("ends the others in a daemon too", async () => {
    const daemon = await startDaemon(services.work);
    try {
      const context = makeContext(services.work, { Dockerfile: dockerfile("3343") });
      const result = bluekiln(["build", "--progress=plain", "--builder", `unix://${daemon.socket}`, context]);
      expect(result.status).toBe(1);
      expect(result.stderr).toContain("CANCELED");
      await until(() => processesWith("sleep 3343") === 0, 5);
    } finally {
      await daemon.stop();
    }
  });
});

describe("steps that do not need each other", () => {
  it("run side by side, whatever of them the cache has", () => {
    const context = (n: number): string =>
      makeContext(services.work, {
        Dockerfile: [
          `FROM ${services.base} AS left`,
          `RUN --mount=type=tmpfs,target=/t sleep 1.5; echo ${n} > /left`,
          `FROM ${services.base} AS right`,
          `RUN --mount=type=tmpfs,target=/t sleep 1.5; echo ${n} > /right`,
          "FROM scratch",
          "COPY --from=left /left /",
          "COPY --from=right /right /",
          "",
        ].join("\n"),
      });
    const state = stateDir();
    const times = [1, 2].map((n) => {
      const { stderr, status } = bluekiln(["build", "--progress=rawjson", "--state-dir", state, context(n)]);
      expect(status).toBe(0);
      return ["left", "right"].map((name) => {
        const steps = stderr.split("\n").filter((line) => line.includes(`"name":"[${name} 2/2] RUN`));
        const [, started, completed] = /"started":"([^"]*)","completed":"([^"]*)"/.exec(steps.at(-1)!)!;
        return [Date.parse(started!), Date.parse(completed!)] as const;
      });
    });
    for (const [[leftStart, leftEnd], [rightStart, rightEnd]] of times as [
      [number, number],
      [number, number],
    ][])
      expect(Math.max(leftStart, rightStart)).toBeLessThan(Math.min(leftEnd, rightEnd));
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
