// The daemon on a socket of its own, and the real docker buildx that builds with it.
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { ROOT, type Outcome } from "./services.js";

/** Debian's, or what BUILDX names. */
const BUILDX = process.env["BUILDX"] ?? findBuildx();

function findBuildx(): string {
  const { stdout, status } = spawnSync("bash", [join(ROOT, "scripts", "buildx.sh")], { encoding: "utf8" });
  if (status !== 0) throw new Error("docker buildx cannot be had");
  return stdout.trim();
}

export interface TestDaemon {
  /** state directory */
  readonly root: string;
  readonly socket: string;
  readonly pid: number;
  /** what it has said so far */
  readonly log: () => string;
  buildx(args: readonly string[], options?: BuildxOptions): Promise<Outcome>;
  startBuildx(args: readonly string[], options?: BuildxOptions): ChildProcess;
  /** @returns exit code */
  stop(): Promise<number | null>;
}

export interface BuildxOptions {
  readonly cwd?: string;
  readonly env?: Record<string, string>;
  readonly input?: Buffer;
}

/** @param work a folder for everything */
export async function startDaemon(
  work: string,
  args: readonly string[] = [],
  env: Record<string, string> = {},
): Promise<TestDaemon> {
  const folder = mkdtempSync(join(work, "daemon-"));
  const [root, socket] = [join(folder, "root"), join(folder, "d.sock")];
  const child = spawn(
    process.execPath,
    [join(ROOT, "bin", "bluekiln.js"), "daemon", "--root", root, "--addr", `unix://${socket}`, ...args],
    { env: { ...process.env, ...env }, stdio: ["ignore", "ignore", "pipe"] },
  );
  let said = "";
  const lines = createInterface(child.stderr);
  const ready = new Promise<void>((resolve, reject) => {
    lines.on("line", (line) => {
      said += `${line}\n`;
      if (line.includes("running server on")) resolve();
    });
    child.once("close", () => reject(new Error(`the daemon ended: ${said}`)));
  });
  await ready;
  const buildxEnv = { ...process.env, BUILDX_CONFIG: join(folder, "buildx"), BUILDX_BUILDER: "test" };
  const startBuildx = (
    command: readonly string[],
    { cwd, env: own, input }: BuildxOptions = {},
  ): ChildProcess => {
    const client = spawn(BUILDX, [...command], {
      cwd,
      env: { ...buildxEnv, ...own },
      stdio: [input ? "pipe" : "ignore", "pipe", "pipe"],
    });
    if (input) client.stdin!.end(input);
    return client;
  };
  const buildx = async (command: readonly string[], options?: BuildxOptions): Promise<Outcome> => {
    const client = startBuildx(command, options);
    const [stdout, stderr, [status]] = await Promise.all([
      text(client.stdout!),
      text(client.stderr!),
      once(client, "close") as Promise<[number | null]>,
    ]);
    return { status, stdout, stderr };
  };
  const created = await buildx(["create", "--name", "test", "--driver", "remote", `unix://${socket}`]);
  if (created.status !== 0) throw new Error(created.stderr);
  return {
    root,
    socket,
    pid: child.pid!,
    log: () => said,
    buildx,
    startBuildx,
    async stop() {
      if (child.exitCode !== null) return child.exitCode;
      const closed = once(child, "close") as Promise<[number | null]>;
      child.kill("SIGTERM");
      return (await closed)[0];
    },
  };
}
