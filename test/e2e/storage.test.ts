// The state folder: what it holds, removing it while others build, cache mounts, steps that two builds have in common.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  bluekiln,
  bluekilnAside,
  makeContext,
  ROOT,
  start,
  startServices,
  type Services,
} from "../support/services.js";

let services: Services;
beforeAll(async () => {
  services = await startServices();
});
afterAll(() => services.stop());

const stateDir = (): string => mkdtempSync(join(services.work, "state-"));
const dockerfile = (...lines: string[]): string =>
  makeContext(services.work, {
    Dockerfile: [`FROM ${services.base}`, ...lines, ""].join("\n"),
    f: "content",
  });

function run(command: string, state: string, ...args: string[]): string {
  const result = bluekiln([command, "--state-dir", state, ...args]);
  expect(`${result.status} ${result.stderr}`).toMatch(/^0 /);
  return command === "build" ? result.stderr : result.stdout;
}
const rows = (table: string): string[][] =>
  table
    .split("\n")
    .filter((line) => /\t(true|false)/.test(line))
    .map((line) => line.split(/\s*\t\s*/));
const bytes = (text: string): number => {
  const [, number, unit] = /^([\d.]+)(\w+)$/.exec(text)!;
  return Number(number) * 1000 ** ["B", "kB", "MB", "GB"].indexOf(unit!);
};
const isSound = (state: string): void => {
  const result = bluekiln(["doctor", "--contents", "--state-dir", state]);
  expect(result.stdout).toContain("no problems found");
  expect(result.status).toBe(0);
};
const until = async (done: () => boolean): Promise<void> => {
  for (const end = Date.now() + 20_000; !done(); await new Promise((resolve) => setTimeout(resolve, 50)))
    if (Date.now() > end) throw new Error("it never happened");
};

describe("du", () => {
  it("shows what the folder holds, with true sizes", () => {
    const state = stateDir();
    run("build", state, dockerfile("RUN dd if=/dev/urandom of=/big bs=1M count=8", "RUN echo 1 > /small"));
    const table = run("du", state);
    expect(table).toMatch(/^ID\t+RECLAIMABLE\tSIZE\t\tLAST ACCESSED\n/);
    expect(new Set(rows(table).map(([, reclaimable]) => reclaimable))).toEqual(new Set(["true"]));
    const sizes = rows(table).map(([, , size]) => bytes(size!));
    // the folder and, where something was packed, the blob
    expect(Math.max(...sizes)).toBeGreaterThanOrEqual(8 << 20);
    expect(Math.max(...sizes)).toBeLessThan(17 << 20);
    expect(sizes).toEqual([...sizes].sort((a, b) => b - a));
    const total = bytes(/Total:\t\t(.*)/.exec(table)![1]!);
    expect(Math.abs(total - sizes.reduce((a, b) => a + b, 0))).toBeLessThan(total / 100);
    const verbose = run("du", state, "--verbose", "--filter", "description~=small");
    expect(verbose).toContain("Description:\texec /bin/sh -c echo 1 > /small\n");
    expect(verbose).toContain("Type:\t\tregular\n");
    expect(verbose.match(/^ID:/gm)).toHaveLength(1);
  });

  it("of an empty folder is nothing, and a wrong filter says so", () => {
    const state = stateDir();
    expect(run("du", state)).toBe("Reclaimable:\t0B\nTotal:\t\t0B\n");
    for (const filter of ["until=xx", "nonsense=1", "description~=("]) {
      const result = bluekiln(["du", "--state-dir", state, "--filter", filter]);
      expect(result.status).toBe(1);
      expect(result.stderr).toMatch(/filter/);
    }
  });
});

describe("prune", () => {
  it("asks first, then removes everything, and the next build is right", () => {
    const state = stateDir();
    const context = dockerfile("COPY f /f", "RUN --mount=type=cache,target=/c cat /f > /g; echo > /c/x");
    run("build", state, context);
    const refused = bluekiln(["prune", "--state-dir", state], { input: "n\n" });
    expect(refused.stdout).toBe(
      "WARNING! This will remove all dangling build cache. Are you sure you want to continue? [y/N] ",
    );
    expect(rows(run("du", state)).length).toBeGreaterThan(0);
    const asked = bluekiln(["prune", "--all", "--state-dir", state], { input: "y\n" });
    expect(asked.stdout).toMatch(/remove all build cache.*Total:\t[\d.]+\w+\n$/s);
    expect(readdirSync(join(state, "s"))).toEqual([]);
    expect(readdirSync(join(state, "caches"))).toEqual([]);
    isSound(state);
    expect(run("build", state, context)).not.toContain("CACHED");
    expect(run("build", state, context).match(/CACHED/g)!.length).toBeGreaterThanOrEqual(3);
    isSound(state);
  });

  it("keeps what was used last within the limit, and what filters leave out", () => {
    const state = stateDir();
    const step = (n: number): string =>
      dockerfile(`RUN echo ${n} && dd if=/dev/urandom of=/big bs=1M count=8 2>/dev/null`);
    const contexts = [1, 2, 3].map(step);
    for (const context of contexts) run("build", state, context);
    run("build", state, contexts[0]!);
    const removed = run("prune", state, "--force", "--keep-storage", "40mb");
    expect(rows(removed)).toHaveLength(1);
    // the one used longest ago was the second
    expect(run("build", state, contexts[0]!)).toContain("CACHED");
    expect(run("build", state, contexts[2]!)).toMatch(/RUN .*\n#\d+ CACHED/);
    expect(rows(run("prune", state, "--force", "--filter", "until=1h"))).toEqual([]);
    expect(rows(run("prune", state, "--force", "--filter", "description~=echo 3"))).toHaveLength(1);
    isSound(state);
    expect(run("build", state, contexts[1]!)).not.toMatch(/RUN .*\n#\d+ CACHED/);
    for (const flag of ["--keep-storage", "--max-used-space", "--min-free-space"]) {
      const result = bluekiln(["prune", "-f", "--state-dir", state, flag, "much"]);
      expect(result.stderr).toContain(`invalid argument "much" for "${flag}" flag: invalid size: 'much'`);
    }
  });

  it("leaves alone what a build works with", async () => {
    const state = stateDir();
    const context = dockerfile("COPY f /f", "RUN cp /f /g", "RUN sleep 2; cp /g /h", "RUN cp /h /i");
    const files = join(services.work, "survived");
    const child = bluekilnAside([
      "build",
      "--progress=plain",
      "--state-dir",
      state,
      "--output",
      files,
      context,
    ]);
    let prunes = 0;
    let isDone = false;
    void child.then(() => (isDone = true));
    while (!isDone) {
      const pruned = await bluekilnAside(["prune", "--all", "--force", "--state-dir", state]);
      expect(pruned.status).toBe(0);
      prunes++;
    }
    const built = await child;
    expect(built.stderr).not.toContain("ERROR");
    expect(prunes).toBeGreaterThan(2);
    expect(readFileSync(join(files, "i"), "utf8")).toBe("content");
    isSound(state);
  });

  it("collects garbage by itself when limits are exceeded", async () => {
    const state = stateDir();
    const env = {
      BLUEKILN_GC_RESERVED_SPACE: "0",
      BLUEKILN_GC_MAX_USED_SPACE: "12mb",
      BLUEKILN_GC_MIN_FREE_SPACE: "0",
    };
    const { Engine } = (await import(join(ROOT, "dist/index.js"))) as typeof import("../../src/index.js");
    for (let n = 0; n < 3; n++)
      run("build", state, dockerfile(`RUN echo ${n}; dd if=/dev/urandom of=/big bs=1M count=8 2>/dev/null`));
    const before = rows(run("du", state)).length;
    const engine = new Engine({
      stateDir: state,
      gc: { reservedSpace: 0, maxUsedSpace: 12e6, minFreeSpace: 0 },
    });
    try {
      const removed = await engine.pruning.collectGarbage(
        { reservedSpace: 0, maxUsedSpace: 12e6, minFreeSpace: 0 },
        new AbortController().signal,
      );
      expect(removed.length).toBeGreaterThan(0);
    } finally {
      await engine.close();
    }
    expect(rows(run("du", state)).length).toBeLessThan(before);
    expect(bluekiln(["build", "--state-dir", state, dockerfile()], { env }).status).toBe(0);
    const wrong = bluekiln(["build", "--state-dir", state, dockerfile()], {
      env: { BLUEKILN_GC_MAX_USED_SPACE: "lots" },
    });
    expect(wrong.stderr).toContain('invalid value "lots" of BLUEKILN_GC_MAX_USED_SPACE');
  });
});

describe("doctor", () => {
  it("finds what is wrong", () => {
    const state = stateDir();
    run(
      "build",
      state,
      "--output",
      `type=oci,dest=${join(services.work, "x.tar")}`,
      dockerfile("RUN echo 1 > /a"),
    );
    isSound(state);
    const blobs = join(state, "content/sha256");
    const [first, second] = readdirSync(blobs);
    // a blob that is gone can be made or fetched again; one with another content lies
    rmSync(join(blobs, first!));
    isSound(state);
    writeFileSync(join(blobs, second!), "something else");
    const lying = bluekiln(["doctor", "--contents", "--state-dir", state]);
    expect(lying.stdout).toContain(`PROBLEM: blob sha256:${second} has another content`);
    expect(lying.status).toBe(1);
    rmSync(join(blobs, second!));
    const machine = bluekiln(["doctor", "--state-dir", state, "--runtime", "no-such-runtime"]);
    expect(machine.status).toBe(1);
    expect(machine.stdout).toContain("PROBLEM: no OCI runtime can run containers");
  });
});

describe("builds that have steps in common", () => {
  it("run them once, whoever is first", async () => {
    const state = stateDir();
    const context = dockerfile("COPY f /f", "RUN sleep 1; head -c 8 /dev/urandom | md5sum > /random");
    const names = [1, 2, 3].map((n) => join(services.work, `common-${n}`));
    const built = await Promise.all(
      names.map((name) =>
        bluekilnAside(["build", "--progress=plain", "--state-dir", state, "--output", name, context]),
      ),
    );
    expect(built.map(({ status }) => status)).toEqual([0, 0, 0]);
    const found = names.map((name) => readFileSync(join(name, "random"), "utf8"));
    expect(new Set(found).size).toBe(1);
    const ran = built.filter(({ stderr }) => !/RUN sleep.*\n#\d+ CACHED/.test(stderr));
    expect(ran).toHaveLength(1);
    expect(readdirSync(join(state, "locks"))).toEqual([]);
  });

  it("go on when the first is killed", async () => {
    const state = stateDir();
    const mark = join(services.work, "killed-first");
    const context = dockerfile(`RUN sleep 3; echo ${mark} > /done`);
    const first = start(["build", "--state-dir", state, context]);
    await until(() => existsSync(join(state, "locks")) && readdirSync(join(state, "locks")).length > 0);
    const second = bluekilnAside(["build", "--progress=plain", "--state-dir", state, context]);
    await new Promise((resolve) => setTimeout(resolve, 500));
    first.kill("SIGKILL");
    const { status, stderr } = await second;
    expect(stderr).not.toContain("ERROR");
    expect(status).toBe(0);
  });
});

describe("cache mounts", () => {
  const mount = (options: string, command: string): string =>
    dockerfile(`RUN --mount=type=cache,target=/c,id=m${options} ${command}`);
  /** Builds both at once; the second begins when the first is in its step. */
  async function both(options: string, firstWaits = "sleep 2"): Promise<string[]> {
    const state = stateDir();
    const outs = [1, 2].map((n) => join(services.work, `mount-${options.replace(/\W/g, "")}-${n}`));
    const context = (n: number): string => {
      const wait = n === 1 ? firstWaits : "true";
      return mount(options, `echo start${n} >> /c/log; ${wait}; echo end${n} >> /c/log; cp /c/log /log`);
    };
    const first = bluekilnAside(["build", "--state-dir", state, "--output", outs[0]!, context(1)]);
    const seen = (): boolean =>
      readdirSync(join(state, "caches")).some((name) => existsSync(join(state, "caches", name, "fs/log")));
    await until(() => existsSync(join(state, "caches")) && seen());
    const second = bluekilnAside(["build", "--state-dir", state, "--output", outs[1]!, context(2)]);
    for (const { status, stderr } of await Promise.all([first, second]))
      expect(`${status} ${stderr}`).toMatch(/^0 /);
    isSound(state);
    return outs.map((folder) => readFileSync(join(folder, "log"), "utf8").replaceAll("\n", " ").trim());
  }

  it("shared: both at once", async () => {
    const untilSecondEnds =
      'until case "$(cat /c/log)" in *end2*) true;; *) false;; esac; do sleep 0.1; done';
    expect(await both("", untilSecondEnds)).toEqual(["start1 start2 end2 end1", "start1 start2 end2"]);
  });

  it("locked: one after the other", async () => {
    expect(await both(",sharing=locked")).toEqual(["start1 end1", "start1 end1 start2 end2"]);
  });

  it("private: each its own", async () => {
    expect(await both(",sharing=private")).toEqual(["start1 end1", "start2 end2"]);
  });

  it("begin as what they are mounted from, and go when they are pruned", () => {
    const state = stateDir();
    const context = (n: number): string =>
      makeContext(services.work, {
        Dockerfile: [
          `FROM ${services.base} AS seed`,
          "RUN mkdir /seed && echo seeded > /seed/log",
          `FROM ${services.base}`,
          `RUN --mount=type=cache,target=/c,from=seed,source=/seed echo ${n} >> /c/log; cat /c/log > /out`,
          "",
        ].join("\n"),
      });
    const out = join(services.work, "seeded");
    run("build", state, "--output", out, context(1));
    run("build", state, "--output", out, context(2));
    expect(readFileSync(join(out, "out"), "utf8")).toBe("seeded\n1\n2\n");
    // what it began with stays as long as it does
    run("prune", state, "-f", "--filter", "type=regular");
    run("build", state, "--output", out, context(3));
    expect(readFileSync(join(out, "out"), "utf8")).toBe("seeded\n1\n2\n3\n");
    expect(run("prune", state, "-f", "--filter", "type=exec.cachemount")).toMatch(/^\w{24}\*\s/m);
    run("build", state, "--output", out, context(4));
    expect(readFileSync(join(out, "out"), "utf8")).toBe("seeded\n4\n");
  });
});
