// The two daemons, each with a root of its own, both driven by buildctl.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout } from "node:timers/promises";

/** Of all that is made: images of one time can be compared byte for byte. */
export const EPOCH = 1_700_000_000;

export class Daemon {
  #buildctl;
  #address;
  #child;

  /** @param root a folder that is not there yet */
  static async start(command, root, buildctl) {
    mkdirSync(root);
    const daemon = new Daemon();
    daemon.#buildctl = buildctl;
    daemon.#address = `unix://${join(root, "socket")}`;
    const [program, ...args] = command;
    daemon.#child = spawn(program, [...args, "--root", root, "--addr", daemon.#address], { stdio: "ignore" });
    const isReady = () => existsSync(join(root, "socket")) && daemon.#call("debug", "workers").status === 0;
    for (let tries = 0; !isReady(); tries++) {
      if (tries > 200) throw new Error(`${program} does not start`);
      await setTimeout(50);
    }
    return daemon;
  }

  #call(...args) {
    return spawnSync(this.#buildctl, ["--addr", this.#address, ...args]);
  }

  /**
   * Builds the Dockerfile in a folder.
   * @param context {folder, options, locals}: options of buildctl, folders in it that are named contexts
   * @param exports options of buildctl that say what becomes of it
   * @returns {status, said}
   */
  async build({ folder, options, locals = [] }, exports) {
    const child = spawn(this.#buildctl, [
      ...["--addr", this.#address, "build", "--progress=rawjson", "--frontend", "dockerfile.v0"],
      ...["--local", `context=${folder}`, "--local", `dockerfile=${folder}`],
      ...locals.flatMap((local) => ["--local", `${local}=${join(folder, local)}`]),
      ...["--opt", `build-arg:SOURCE_DATE_EPOCH=${EPOCH}`, ...options, ...exports],
    ]);
    const closed = new Promise((resolve) => child.once("close", resolve));
    const [said, status] = await Promise.all([text(child.stderr), closed]);
    return { status, said };
  }

  /** It forgets all that it has built. */
  prune() {
    this.#call("prune", "--all");
  }

  stop() {
    this.#child.kill();
  }
}

/**
 * What a client was told, without what is new in every build.
 * @returns {error, steps, warnings}: a step is {name, isSource, cached, ran}, a warning [text, places]
 */
export function toldBy(said) {
  const steps = new Map();
  const warnings = [];
  const rest = [];
  for (const line of said.split("\n")) {
    if (!line.startsWith("{")) {
      rest.push(line);
      continue;
    }
    const { vertexes = [], warnings: more = [] } = JSON.parse(line);
    for (const { digest, name, inputs = [], started, cached } of vertexes) {
      // one that was found may be told of again, when its layers are fetched
      const isCached = cached || steps.get(digest)?.cached;
      const isSource = inputs.length === 0 && steps.get(digest)?.isSource !== false;
      steps.set(digest, { name, isSource, cached: isCached, ran: started !== undefined && !isCached });
    }
    for (const { short, range } of more) warnings.push([Buffer.from(short, "base64").toString(), range]);
  }
  const error = rest
    .join("\n")
    .replaceAll(/sha256:[0-9a-f]{64}/g, "DIGEST")
    .replaceAll(/ref [a-z0-9:]+:/g, "ref ID:")
    .replaceAll(/failed to do request:.*/g, "no such host")
    .replace(/(?<=violation found for rules: ).*/, (rules) => rules.split(", ").sort().join())
    .replaceAll(/\/[^ ]*\/(fs|buildkit\d+)\//g, "/")
    .trim();
  return { error, steps: [...steps.values()], warnings };
}

/** @returns what of two lists only one has; `undefined` if they are the same */
export function difference(ours, theirs) {
  if (JSON.stringify(ours) === JSON.stringify(theirs)) return undefined;
  return { ours: ours.filter((x) => !theirs.includes(x)), theirs: theirs.filter((x) => !ours.includes(x)) };
}
