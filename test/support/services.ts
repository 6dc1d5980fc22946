// Real servers for tests, on free ports, each stopped by its own pid: a registry with a base image, Azurite.
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { once } from "node:events";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { text } from "node:stream/consumers";
// @ts-expect-error plain JavaScript, shared with the golden runner
import { AZURE_KEY, startAzurite, waitFor } from "../golden/lib/services.mjs";

export const ROOT = resolve(import.meta.dirname, "../..");
export const KEY = AZURE_KEY as string;

/** Azurite, which takes requests of the API's versions that it knows. */
export const startAzure = startAzurite as (folder: string, port: number, options?: string[]) => ChildProcess;

export interface Services {
  readonly registry: string;
  readonly azure: string;
  /** an image with busybox: sh, cat, ls and so on */
  readonly base: string;
  /** a folder that is removed at the end */
  readonly work: string;
  stop(): void;
}

export function freePort(): Promise<number> {
  return new Promise((done, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => done(typeof address === "object" && address ? address.port : 0));
    });
  });
}

export async function startServices(): Promise<Services> {
  const work = mkdtempSync(join(tmpdir(), "bluekiln-test-"));
  const [registryPort, azurePort] = [await freePort(), await freePort()];
  const children: ChildProcess[] = [];
  const config = join(work, "registry.yml");
  const storage = `storage: {filesystem: {rootdirectory: ${join(work, "registry")}}, delete: {enabled: true}}`;
  writeFileSync(
    config,
    `version: 0.1\nlog: {level: error}\n${storage}\nhttp: {addr: "127.0.0.1:${registryPort}"}\n`,
  );
  children.push(spawn("docker-registry", ["serve", config], { stdio: "ignore" }));
  children.push(
    // tests look into it with an SDK that is newer
    startAzure(join(work, "azurite"), azurePort, ["--skipApiVersionCheck"]),
  );
  const wait = waitFor as (port: number) => Promise<void>;
  await Promise.all([wait(registryPort), wait(azurePort)]);
  const registry = `127.0.0.1:${registryPort}`;
  const base = `${registry}/base:1`;
  await pushBase(work, base);
  return {
    registry,
    azure: `http://127.0.0.1:${azurePort}/devstoreaccount1`,
    base,
    work,
    stop() {
      for (const child of children) child.kill("SIGKILL");
      rmSync(work, { recursive: true, force: true });
    },
  };
}

/** The base image, built by the command itself from the machine's busybox. */
async function pushBase(work: string, name: string): Promise<void> {
  const folder = join(work, "base");
  const bin = join(folder, "root", "bin");
  mkdirSync(bin, { recursive: true });
  for (const path of ["etc", "tmp", "root"]) mkdirSync(join(folder, "root", path), { recursive: true });
  const busybox = ["/bin/busybox", "/usr/bin/busybox"].find((path) => existsSync(path));
  if (busybox === undefined) throw new Error("busybox-static is not installed");
  copyFileSync(busybox, join(bin, "busybox"));
  chmodSync(join(bin, "busybox"), 0o755);
  const applets = spawnSync(busybox, ["--list"], { encoding: "utf8" }).stdout.split("\n");
  for (const applet of applets)
    if (applet !== "" && applet !== "busybox") symlinkSync("busybox", join(bin, applet));
  writeFileSync(
    join(folder, "root", "etc", "passwd"),
    "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n",
  );
  writeFileSync(join(folder, "root", "etc", "group"), "root:x:0:\napp:x:1000:\n");
  writeFileSync(join(folder, "Dockerfile"), 'FROM scratch\nCOPY root /\nCMD ["sh"]\n');
  const result = bluekiln(["build", "--push", "-t", name, "--state-dir", join(work, "base-state"), folder]);
  if (result.status !== 0) throw new Error(result.stderr);
}

export interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export function bluekiln(
  args: readonly string[],
  options: { input?: string | Buffer; env?: Record<string, string> } = {},
): Outcome {
  const result = spawnSync(process.execPath, [join(ROOT, "bin", "bluekiln.js"), ...args], {
    encoding: "utf8",
    env: { ...process.env, ...options.env },
    ...(options.input !== undefined && { input: options.input }),
    timeout: 100_000,
    maxBuffer: 1 << 28,
  });
  return { status: result.status, stdout: result.stdout, stderr: result.stderr };
}

/** As `bluekiln`, for tests that serve something meanwhile. */
export async function bluekilnAside(
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<Outcome> {
  const child = start(args, env);
  const [stdout, stderr, [status]] = await Promise.all([
    text(child.stdout!),
    text(child.stderr!),
    once(child, "close") as Promise<[number | null]>,
  ]);
  return { status, stdout, stderr };
}

export function start(args: readonly string[], env: Record<string, string> = {}): ChildProcess {
  return spawn(process.execPath, [join(ROOT, "bin", "bluekiln.js"), ...args], {
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
}

/** A context with these files; "Dockerfile" is one of them. */
export function makeContext(work: string, files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(work, "context-"));
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(resolve(folder, name, ".."), { recursive: true });
    writeFileSync(join(folder, name), content);
  }
  return folder;
}

export function copyExample(name: string, target: string): string {
  cpSync(join(ROOT, "examples", name), target, { recursive: true });
  return target;
}
