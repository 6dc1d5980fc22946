// azproxy in front of Azurite, with its settings at hand.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** @param target host and port */
export async function startProxy(target) {
  const script = join(import.meta.dirname, "..", "test", "support", "azproxy.mjs");
  const child = spawn(process.execPath, [script, "--target", target], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = await once(createInterface(child.stdout), "line");
  const { listen, control } = JSON.parse(line);
  const ask = async (method, path, body) => {
    const options = { method, headers: { connection: "close" }, ...(body && { body: JSON.stringify(body) }) };
    return (await fetch(`http://${control}${path}`, options)).json();
  };
  return {
    address: listen,
    configure: (settings) => ask("PATCH", "/config", settings),
    /** @returns what was counted since the last time */
    reset: () => ask("POST", "/reset"),
    stop: () => child.kill(),
  };
}
