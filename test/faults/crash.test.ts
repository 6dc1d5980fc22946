// A process that is killed at any moment, while others build and prune, leaves a sound state folder.
import { mkdtempSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bluekiln, makeContext, start, startServices, type Services } from "../support/services.js";

const KILLS = Number(process.env["CRASH_RUNS"] ?? 16);
const SEED = Number(process.env["CRASH_SEED"] ?? Date.now() % 100_000);

let services: Services;
beforeAll(async () => {
  services = await startServices();
});
afterAll(() => services.stop());

/** Numbers from 0 to 1 that a seed repeats. */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return state / 2 ** 31;
  };
}

describe(`kill -9 (CRASH_SEED=${SEED} CRASH_RUNS=${KILLS})`, () => {
  it(
    "at random moments of builds and prunes",
    async () => {
      const state = mkdtempSync(join(services.work, "state-"));
      const random = randomNumbers(SEED);
      const context = (n: number): string =>
        makeContext(services.work, {
          Dockerfile: [
            `FROM ${services.base} AS a`,
            "COPY f /f",
            `RUN --mount=type=cache,target=/c cat /f > /a; echo ${n} >> /c/log`,
            "RUN head -c 3000000 /dev/urandom > /big",
            "FROM scratch",
            "COPY --from=a /f /a /",
            "COPY --link --from=a /big /big",
            "",
          ].join("\n"),
          f: `content ${n}`,
        });
      const contexts = [0, 1, 2, 3].map(context);
      const pick = (n: number): number => Math.floor(random() * n);
      const buildArgs = (n: number): string[] => [
        ...["build", "--state-dir", state, "--output", `type=oci,dest=${join(services.work, `${n}.tar`)}`],
        contexts[n]!,
      ];
      const pruneArgs = (): string[] => {
        const kinds = [["--all"], ["--keep-storage", "9mb"], ["--filter", "type=exec.cachemount"]];
        return ["prune", "--force", "--state-dir", state, ...kinds[pick(kinds.length)]!];
      };
      for (let i = 0; i < KILLS; i++) {
        // two at a time: the one to be killed, and one that works on beside it
        const args = [buildArgs(pick(4)), random() < 0.5 ? pruneArgs() : buildArgs(pick(4))];
        if (random() < 0.3) args.reverse();
        const [victim, other] = args.map((list) => start(list));
        let errors = "";
        other!.stderr!.on("data", (chunk: Buffer) => (errors += chunk.toString()));
        other!.stdout!.resume();
        victim!.stdout!.resume();
        victim!.stderr!.resume();
        const ended = [victim!, other!].map(
          (child) => new Promise<number | null>((resolve) => child.once("close", resolve)),
        );
        await new Promise((resolve) => setTimeout(resolve, 50 + random() * 900));
        victim!.kill("SIGKILL");
        const [, status] = await Promise.all(ended);
        expect(`${i}: ${status} ${errors}`).toMatch(/^\d+: 0 /);
        if (i % 10 < 9 && i < KILLS - 1) continue;
        const doctor = bluekiln(["doctor", "--contents", "--state-dir", state]);
        expect(doctor.stdout).toContain("no problems found");
      }
      for (const n of [0, 1, 2, 3]) {
        const files = join(services.work, `right-${n}`);
        const result = bluekiln(["build", "--state-dir", state, "--output", files, contexts[n]!]);
        expect(`${result.status} ${result.stderr}`).toMatch(/^0 /);
        expect(readFileSync(join(files, "a"), "utf8")).toBe(`content ${n}`);
        expect(readFileSync(join(files, "big")).length).toBe(3_000_000);
      }
      const doctor = bluekiln(["doctor", "--contents", "--state-dir", state]);
      expect(doctor.stdout).toContain("no problems found");
      expect(bluekiln(["prune", "--all", "--force", "--state-dir", state]).status).toBe(0);
    },
    120_000 + KILLS * 5000,
  );
});
