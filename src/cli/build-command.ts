// `bluekiln build`: flags to a request, the build, what is printed and the exit code.
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { Engine, type BuildRequest, type BuildResponse } from "../builder/index.js";
import { BuildError, messageOf } from "../lib/index.js";
import { runInUserNamespace } from "../linux/index.js";
import { buildRequest } from "./build-request.js";
import { openContext, type BuildContext } from "./context.js";
import { engineOptions, installSignals } from "./engine.js";
import { exitCodeOf, failureText, placesOf, plainFailure } from "./failure.js";
import { describe, parseCall } from "./describe.js";
import { BUILD_FLAGS, parseFlags, type ParsedFlags } from "./flags.js";
import { writeLlb } from "./debug-llb.js";
import { BUILD_HELP } from "./help.js";
import { warningSummary } from "./warnings.js";
import { makeDisplay } from "./progress/index.js";
import { StepWatcher } from "./step-watcher.js";

/** @returns the exit code */
export async function buildCommand(args: readonly string[]): Promise<number> {
  const { stderr, stdout, stdin, env } = process;
  let flags: ParsedFlags;
  let context: BuildContext | undefined;
  const debug = args.includes("--debug") || args.includes("-D");
  const controller = new AbortController();
  const stop = installSignals(controller, "Canceling the build: ending containers and transfers...");
  try {
    flags = parseFlags(args, BUILD_FLAGS);
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
    const wanted = await buildRequest(flags, env);
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
      engine = new Engine(engineOptions(flags, env));
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
      await engine.collectGarbage(controller.signal);
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
      await engine?.close().catch(() => undefined);
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
