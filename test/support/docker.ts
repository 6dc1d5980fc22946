// A Docker engine of its own, without networks.
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { json } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { ROOT } from "./services.js";

export interface DockerEngine {
  /** for DOCKER_HOST */
  readonly host: string;
  /** what it knows of an image; `undefined` if it has none of this name */
  image(name: string): Promise<{ readonly RootFS: { readonly Layers: readonly string[] } } | undefined>;
  stop(): Promise<void>;
}

/** @param work a folder for everything */
export async function startDocker(work: string): Promise<DockerEngine> {
  const { stdout, status } = spawnSync("bash", [join(ROOT, "scripts", "docker.sh")], { encoding: "utf8" });
  if (status !== 0) throw new Error("Docker cannot be had");
  const tools = stdout.trim();
  const folder = join(work, "docker");
  mkdirSync(folder, { recursive: true });
  const socket = join(folder, "d.sock");
  const config = {
    iptables: false,
    bridge: "none",
    "data-root": join(folder, "data"),
    "exec-root": join(folder, "exec"),
    pidfile: join(folder, "pid"),
    hosts: [`unix://${socket}`],
  };
  writeFileSync(join(folder, "daemon.json"), JSON.stringify(config));
  const path = [join(tools, "usr", "bin"), join(tools, "usr", "sbin"), process.env["PATH"]].join(":");
  const dockerd = join(tools, "usr", "sbin", "dockerd");
  const engine = spawn(dockerd, ["--config-file", join(folder, "daemon.json")], {
    env: { ...process.env, PATH: path },
    stdio: "ignore",
  });
  const get = (url: string): Promise<{ status: number; body: unknown }> =>
    new Promise((resolve, reject) => {
      request({ socketPath: socket, path: url }, (response) => {
        json(response).then((body) => resolve({ status: response.statusCode ?? 0, body }), reject);
      })
        .on("error", reject)
        .end();
    });
  for (let i = 0; ; i++) {
    const isUp = await get("/info").then(
      () => true,
      () => false,
    );
    if (isUp) break;
    if (i > 300 || engine.exitCode !== null) throw new Error("dockerd does not start");
    await sleep(100);
  }
  return {
    host: `unix://${socket}`,
    image: async (name) => {
      const answer = await get(`/images/${name}/json`);
      return answer.status === 200 ? (answer.body as { RootFS: { Layers: readonly string[] } }) : undefined;
    },
    stop: async () => {
      engine.kill("SIGTERM");
      await once(engine, "close");
    },
  };
}
