// `bluekiln build`: flags to a request, the build, what is printed and the exit code.
import { mkdir, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { Engine, type BuildRequest, type BuildResponse, type Output } from "../builder/index.js";
import { parseGitRef, parsePlatform, parseSize, type NamedContext } from "../frontend/index.js";
import { BuildError, messageOf } from "../lib/index.js";
import { inUserNamespace, runInUserNamespace } from "../linux/index.js";
import type { ProgressEvent, ProgressVertex, ProgressWarning } from "../progress/index.js";
import { parseReference } from "../registry/index.js";
import { openContext, type BuildContext } from "./context.js";
import { exitCodeOf, failureText, placesOf, plainFailure, type FailedStep } from "./failure.js";
import { describe, parseCall } from "./describe.js";
import { parseFlags, type ParsedFlags } from "./flags.js";
import { writeLlb } from "./debug-llb.js";
import { BUILD_HELP } from "./help.js";
import { warningSummary } from "./warnings.js";
import { makeDisplay } from "./progress/index.js";
import {
  parseCacheFrom,
  parseCacheTo,
  parseHost,
  parseOutput,
  parsePairs,
  parseSecret,
  parseUlimit,
} from "./specs.js";

/** @returns the exit code */
export async function buildCommand(args: readonly string[]): Promise<number> {
  const { stderr, stdout, stdin, env } = process;
  let flags: ParsedFlags;
  let context: BuildContext | undefined;
  const debug = args.includes("--debug") || args.includes("-D");
  const controller = new AbortController();
  const stop = installSignals(controller);
  try {
    flags = parseFlags(args);
    if (flags.bool("help")) {
      stdout.write(BUILD_HELP);
      return 0;
    }
    if (flags.positional.length !== 1) {
      throw new BuildError(
        "FLAG_INVALID",
        `"bluekiln build" requires 1 argument, the build context; got ${flags.positional.length}. See bluekiln build --help`,
      );
    }
    if (flags.string("builder") !== "")
      throw new BuildError(
        "FLAG_INVALID",
        "--builder: remote builders are not supported yet; leave it out to build here",
      );
    if (process.getuid?.() !== 0) return await runInUserNamespace();
    const quiet = flags.bool("quiet");
    const call = parseCall(flags.bool("check") ? "check" : flags.string("call"));
    const display = makeDisplay(quiet ? "quiet" : flags.string("progress"), stderr);
    const watcher = new StepWatcher();
    const wanted = requestOf(flags, env);
    context = await openContext(flags.positional[0]!, flags.string("file"), stdin);
    const request: BuildRequest = {
      ...wanted,
      frontend: {
        ...wanted.frontend,
        context: context.url,
        filename: context.filename,
        hasOwnDockerfile: context.hasOwnDockerfile,
      },
      folders: new Map([
        ["context", context.folder],
        ["dockerfile", context.dockerfileFolder],
        ...wanted.folders,
      ]),
      onProgress: (event) => {
        watcher.handle(event);
        display.handle(event);
      },
      signal: controller.signal,
    };
    let engine: Engine | undefined;
    try {
      engine = new Engine({
        stateDir: stateDir(flags, env),
        runtime: flags.string("runtime") || env["BLUEKILN_RUNTIME"],
      });
      if (call) {
        const description = await engine.describe(request, call.call);
        display.close();
        const { out, error, code } = describe(description, call);
        stdout.write(out);
        stderr.write(error);
        return code;
      }
      const response = await engine.build(request);
      display.close();
      if (!display.quiet) stderr.write(warningSummary(watcher.warnings, debug));
      await report(flags, response, quiet);
      return 0;
    } catch (error) {
      display.close();
      if (controller.signal.aborted) {
        stderr.write("ERROR: failed to build: failed to solve: Canceled: context canceled\n");
        return 130;
      }
      if (!quiet || !display.quiet) stderr.write("\n");
      const warnings = display.quiet ? "" : warningSummary(watcher.warnings, debug);
      stderr.write(failureText(explained(error), watcher.failed, warnings, placesOf(error), debug));
      return exitCodeOf(error);
    } finally {
      await closeQuietly(engine);
    }
  } catch (error) {
    stderr.write(plainFailure(explained(error), debug));
    return 1;
  } finally {
    stop();
    await context?.close();
  }
}

/** A full disk says so, whatever was being written. */
function explained(error: unknown): unknown {
  const text = messageOf(error);
  if (!/ENOSPC/.test(text)) return error;
  return new BuildError(
    "DISK_FULL",
    `no space left on the device of the state directory (${text}); free some, or choose another with --state-dir`,
    { cause: error },
  );
}

async function closeQuietly(engine: Engine | undefined): Promise<void> {
  await engine?.close().catch(() => undefined);
}

function stateDir(flags: ParsedFlags, env: NodeJS.ProcessEnv): string {
  const chosen = flags.string("state-dir") || env["BLUEKILN_STATE_DIR"];
  if (chosen) return resolve(chosen);
  if (process.getuid?.() === 0 && !inUserNamespace()) return "/var/lib/bluekiln";
  return join(env["XDG_DATA_HOME"] ?? join(homedir(), ".local", "share"), "bluekiln");
}

/** First Ctrl-C ends the build in order, the second at once. */
function installSignals(controller: AbortController): () => void {
  const handler = (): void => {
    if (controller.signal.aborted) process.exit(130);
    process.stderr.write("\nCanceling the build: ending containers and transfers...\n");
    controller.abort(new BuildError("CANCELED", "context canceled"));
  };
  process.on("SIGINT", handler).on("SIGTERM", handler);
  return () => process.off("SIGINT", handler).off("SIGTERM", handler);
}

function requestOf(flags: ParsedFlags, env: NodeJS.ProcessEnv): Omit<BuildRequest, "onProgress" | "signal"> {
  const tags = flags.strings("tag");
  for (const tag of tags) checkTag(tag);
  const push = flags.bool("push");
  const texts = flags.strings("output");
  if (push && flags.bool("load"))
    throw new BuildError("FLAG_INVALID", "push and load may not be set together at the moment");
  if (flags.bool("load"))
    throw new BuildError(
      "FLAG_INVALID",
      "--load needs a Docker engine; use --output type=docker,dest=FILE and docker load -i FILE",
    );
  const outputs: Output[] = texts.map((text) => parseOutput(text, tags, push));
  if (push && outputs.length === 0)
    outputs.push({ kind: "image", names: tags, push: true, rewriteTimestamp: false });
  if (outputs.length === 0)
    outputs.push({ kind: "image", names: tags, push: false, rewriteTimestamp: false });
  for (const output of outputs) {
    if (output.kind === "image" && output.push && output.names.length === 0)
      throw new BuildError("FLAG_INVALID", "tag is needed when pushing to registry");
  }
  const { contexts, folders } = namedContexts(flags.strings("build-context"));
  const shmSize = flags.string("shm-size");
  const network = flags.string("network") || "default";
  if (network !== "default" && network !== "none" && network !== "host")
    throw new BuildError(
      "FLAG_INVALID",
      `network mode "${network}" not supported by buildkit; use default, none or host`,
    );
  const agents = new Map<string, string>();
  for (const text of flags.strings("ssh")) {
    const [id, path] = text.split(/=(.*)/s);
    const socket = path ?? env["SSH_AUTH_SOCK"];
    if (!socket)
      throw new BuildError("FLAG_INVALID", `invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set`);
    agents.set(id!, socket);
  }
  return {
    frontend: {
      context: "",
      filename: "Dockerfile",
      hasOwnDockerfile: true,
      target: flags.string("target"),
      buildArgs: parsePairs(flags.strings("build-arg"), env),
      labels: parsePairs(flags.strings("label"), undefined),
      platforms: flags
        .strings("platform")
        .flatMap((text) => text.split(","))
        .map(parsePlatform),
      noCache: flags.bool("no-cache")
        ? true
        : flags.strings("no-cache-filter").flatMap((text) => text.split(",")),
      pull: flags.bool("pull"),
      addHosts: flags.strings("add-host").map(parseHost),
      network,
      shmSize: shmSize === "" ? 0 : parseSize(shmSize),
      ulimits: flags.strings("ulimit").map(parseUlimit),
      cgroupParent: flags.string("cgroup-parent"),
    },
    folders,
    contexts,
    secrets: new Map(flags.strings("secret").map((text) => parseSecret(text, env))),
    agents,
    entitlements: new Set([...flags.strings("allow"), ...(network === "host" ? ["network.host"] : [])]),
    outputs,
    cacheTo: flags.strings("cache-to").map((text) => parseCacheTo(text, env)),
    cacheFrom: flags.strings("cache-from").map((text) => parseCacheFrom(text, env)),
    annotations: parsePairs(flags.strings("annotation"), undefined),
  };
}

function checkTag(tag: string): void {
  try {
    parseReference(tag);
  } catch (cause) {
    throw new BuildError("FLAG_INVALID", `invalid tag "${tag}": ${messageOf(cause)}`, { cause });
  }
}

function namedContexts(list: readonly string[]): {
  contexts: Record<string, NamedContext>;
  folders: Map<string, string>;
} {
  const contexts: Record<string, NamedContext> = {};
  const folders = new Map<string, string>();
  for (const text of list) {
    const at = text.indexOf("=");
    if (at <= 0) throw new BuildError("FLAG_INVALID", `invalid context value: ${text}, expected key=value`);
    const name = text
      .slice(0, at)
      .toLowerCase()
      .replace(/:latest$/, "");
    const value = text.slice(at + 1);
    if (value.startsWith("docker-image://"))
      contexts[name] = { kind: "image", reference: value.slice("docker-image://".length) };
    else if (/^https?:\/\//.test(value) || parseGitRef(value))
      contexts[name] = { kind: "remote", url: value };
    else if (/^[a-z+-]+:\/\//.test(value))
      throw new BuildError(
        "FLAG_INVALID",
        `build context ${value} is not supported yet; use a folder, docker-image://, a git repository or a URL`,
      );
    else {
      contexts[name] = { kind: "local", name };
      folders.set(name, resolve(value));
    }
  }
  return { contexts, folders };
}

async function report(flags: ParsedFlags, response: BuildResponse, quiet: boolean): Promise<void> {
  const { metadata } = response;
  const digest = metadata["containerimage.digest"];
  const write = async (file: string, text: string): Promise<void> => {
    await mkdir(dirname(resolve(file)), { recursive: true });
    await writeFile(file, text);
  };
  if (flags.string("iidfile") !== "" && typeof digest === "string")
    await write(flags.string("iidfile"), digest);
  if (flags.string("metadata-file") !== "")
    await write(flags.string("metadata-file"), `${JSON.stringify(metadata, null, 2)}\n`);
  if (flags.string("debug-llb") !== "") await writeLlb(flags.string("debug-llb"), response.definitions);
  if (quiet && typeof digest === "string") process.stdout.write(`${digest}\n`);
}

/** Remembers for the summary: the steps that failed with their last lines, and what the linter says. */
class StepWatcher {
  readonly warnings: ProgressWarning[] = [];
  readonly #vertices = new Map<string, { vertex: ProgressVertex; lines: string[]; rest: string }>();

  handle(event: ProgressEvent): void {
    if (event.kind === "warning" && event.about) this.warnings.push(event);
    if (event.kind === "vertex") {
      const known = this.#vertices.get(event.vertex.digest);
      if (known) known.vertex = event.vertex;
      else this.#vertices.set(event.vertex.digest, { vertex: event.vertex, lines: [], rest: "" });
    } else if (event.kind === "log") {
      const known = this.#vertices.get(event.vertex);
      if (!known) return;
      const seconds = ((event.time - (known.vertex.started ?? event.time)) / 1000).toFixed(3);
      const lines = (known.rest + Buffer.from(event.data).toString("utf8")).split("\n");
      known.rest = lines.pop()!;
      known.lines.push(...lines.map((line) => `${seconds} ${line}`));
      known.lines.splice(0, known.lines.length - 10);
    }
  }

  /** In the order they were first seen, as buildx lists them. */
  get failed(): readonly FailedStep[] {
    return [...this.#vertices.values()].flatMap(({ vertex, lines, rest }) => {
      if (vertex.error === undefined || vertex.error.endsWith("context canceled")) return [];
      const seconds = ((Date.now() - (vertex.started ?? Date.now())) / 1000).toFixed(3);
      const all = rest === "" ? lines : [...lines, `${seconds} ${rest}`];
      return [{ name: vertex.name.replaceAll("\n", " "), lines: all }];
    });
  }
}
