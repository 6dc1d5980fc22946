// What every command that works on a state folder does: find the folder, read the environment, answer Ctrl-C.
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import type { EngineOptions } from "../builder/index.js";
import { BuildError, parseBytes, parseDuration } from "../lib/index.js";
import { inUserNamespace } from "../linux/index.js";
import type { GcLimits } from "../prune/index.js";
import type { ParsedFlags } from "./flags.js";

type Environment = Readonly<Record<string, string | undefined>>;

/** @throws BuildError FLAG_INVALID */
export function engineOptions(flags: ParsedFlags, env: Environment): EngineOptions {
  return {
    stateDir: stateDir(flags, env),
    runtime: flags.string("runtime") || env["BLUEKILN_RUNTIME"],
    cdiFolders: env["BLUEKILN_CDI_SPEC_DIRS"]?.split(":"),
    gc: gcLimits(env),
  };
}

function stateDir(flags: ParsedFlags, env: Environment): string {
  const chosen = flags.string("state-dir") || env["BLUEKILN_STATE_DIR"];
  if (chosen) return resolve(chosen);
  if (process.getuid?.() === 0 && !inUserNamespace()) return "/var/lib/bluekiln";
  return join(env["XDG_DATA_HOME"] ?? join(homedir(), ".local", "share"), "bluekiln");
}

/** @returns `undefined` where garbage collection is turned off */
function gcLimits(env: Environment): Partial<GcLimits> | undefined {
  if (env["BLUEKILN_GC"] === "off" || env["BLUEKILN_GC"] === "false") return undefined;
  const read = <T>(name: string, parse: (text: string) => T | undefined): T | undefined => {
    const text = env[name];
    if (text === undefined || text === "") return undefined;
    const value = parse(text);
    if (value === undefined) throw new BuildError("FLAG_INVALID", `invalid value "${text}" of ${name}`);
    return value;
  };
  const reservedSpace = read("BLUEKILN_GC_RESERVED_SPACE", parseBytes);
  const maxUsedSpace = read("BLUEKILN_GC_MAX_USED_SPACE", parseBytes);
  const minFreeSpace = read("BLUEKILN_GC_MIN_FREE_SPACE", parseBytes);
  const keepDuration = read("BLUEKILN_GC_KEEP_DURATION", parseDuration);
  return {
    ...(reservedSpace !== undefined && { reservedSpace }),
    ...(maxUsedSpace !== undefined && { maxUsedSpace }),
    ...(minFreeSpace !== undefined && { minFreeSpace }),
    ...(keepDuration !== undefined && { keepDuration }),
  };
}

/** First Ctrl-C ends what runs in order, the second at once. @param message said at the first */
export function installSignals(controller: AbortController, message: string): () => void {
  const handler = (): void => {
    if (controller.signal.aborted) process.exit(130);
    process.stderr.write(`\n${message}\n`);
    controller.abort(new BuildError("CANCELED", "context canceled"));
  };
  process.on("SIGINT", handler).on("SIGTERM", handler);
  return () => process.off("SIGINT", handler).off("SIGTERM", handler);
}
