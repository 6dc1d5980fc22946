// A registry with a base image and Azurite, on free ports.
import { spawn, spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, existsSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { AZURE_KEY, startAzurite, waitFor } from "../test/golden/lib/services.mjs";

const freePort = () =>
  new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

/** @param azuriteOptions more of Azurite's options */
export async function startDemoServices(work, azuriteOptions = []) {
  const [registryPort, azurePort] = [await freePort(), await freePort()];
  const config = join(work, "registry.yml");
  writeFileSync(
    config,
    `version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: ${join(work, "registry")}}}\nhttp: {addr: "127.0.0.1:${registryPort}"}\n`,
  );
  const children = [
    spawn("docker-registry", ["serve", config], { stdio: "ignore" }),
    startAzurite(join(work, "azurite"), azurePort, azuriteOptions),
  ];
  const stop = () => children.forEach((child) => child.kill("SIGKILL"));
  try {
    await Promise.all([waitFor(registryPort), waitFor(azurePort)]);
    const base = `127.0.0.1:${registryPort}/busybox:1`;
    pushBase(work, base);
    return {
      registry: `127.0.0.1:${registryPort}`,
      azure: `http://127.0.0.1:${azurePort}/devstoreaccount1`,
      key: AZURE_KEY,
      base,
      stop,
    };
  } catch (error) {
    stop();
    throw error;
  }
}

/** A base image made of this machine's busybox. */
export function pushBase(work, name) {
  const bin = join(work, "base", "bin");
  mkdirSync(bin, { recursive: true });
  const busybox = ["/bin/busybox", "/usr/bin/busybox"].find(existsSync);
  copyFileSync(busybox, join(bin, "busybox"));
  chmodSync(join(bin, "busybox"), 0o755);
  for (const applet of spawnSync(busybox, ["--list"], { encoding: "utf8" }).stdout.split("\n")) {
    if (applet !== "" && applet !== "busybox") symlinkSync("busybox", join(bin, applet));
  }
  writeFileSync(join(work, "base", "Dockerfile"), 'FROM scratch\nCOPY bin /bin\nCMD ["sh"]\n');
  const command = join(import.meta.dirname, "..", "bin", "bluekiln.js");
  const result = spawnSync(
    process.execPath,
    [command, "build", "--push", "-t", name, "--state-dir", join(work, "base-state"), join(work, "base")],
    {
      encoding: "utf8",
    },
  );
  if (result.status !== 0) throw new Error(result.stderr);
}
