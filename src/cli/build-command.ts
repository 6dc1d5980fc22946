// `bluekiln build`: flags to a request, the build, what is printed and the exit code.
import { mkdtempSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { Engine, entriesOf, type BuildRequest, type BuildResponse } from "../builder/index.js";
import { BuildError, messageOf } from "../lib/index.js";
import { runInUserNamespace } from "../linux/index.js";
import { buildRequest } from "./build-request.js";
import { openContext, type BuildContext } from "./context.js";
import { installSignals } from "./engine.js";
import { exitCodeOf, failureText, placesOf, plainFailure } from "./failure.js";
import { describe, parseCall } from "./describe.js";
import { loadImage } from "./docker-engine.js";
import { BUILD_FLAGS, parseFlags, type ParsedFlags } from "./flags.js";
import { writeLlb } from "./debug-llb.js";
import { BUILD_HELP } from "./help.js";
import { warningSummary } from "./warnings.js";
import { makeDisplay } from "./progress/index.js";
import { chooseBuilder, openBuilder } from "./open-builder.js";
import { StepWatcher } from "./step-watcher.js";

const NO_OUTPUT =
  "WARNING: No output specified with remote driver. Build result will only remain in the build cache. " +
  "To push result image into registry use --push or to load image into docker use --load\n";

/** @returns the exit code */
export async function buildCommand(args: readonly string[]): Promise<number> {
  const { stderr, stdout, stdin, env } = process;
  let flags: ParsedFlags;
  let context: BuildContext | undefined;
  let loading: string | undefined;
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
    const quiet = flags.bool("quiet");
    const chosen = chooseBuilder(flags, env, (text) => {
      if (!quiet) stderr.write(`WARNING: ${text}\n`);
    });
    const isHere = chosen.driver === "embedded";
    if (isHere && process.getuid?.() !== 0) return await runInUserNamespace();
    const call = parseCall(flags.bool("check") ? "check" : flags.string("call"));
    const display = makeDisplay(quiet ? "quiet" : flags.string("progress"), stderr, env);
    const watcher = new StepWatcher();
    if (flags.bool("load") && !call) loading = mkdtempSync(join(tmpdir(), "bluekiln-load-"));
    const loadFile = loading && join(loading, "image.tar");
    const wanted = await buildRequest(flags, env, loadFile);
    if (isHere) entriesOf(wanted);
    context = await openContext(flags.positional[0]!, flags.string("file"), stdin);
    if (!call && !quiet && !isHere && wanted.outputs.length === 0) stderr.write(NO_OUTPUT);
    const request: BuildRequest = {
      ...wanted,
      // the digest of an image that goes nowhere is wanted all the same
      ...(isHere && wanted.outputs.length === 0 && { outputs: [{ type: "image", attributes: {} }] }),
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
    const builder = await openBuilder(chosen, flags, env);
    try {
      if (call) {
        const description = await builder.describe(request, call.call);
        display.close();
        const { out, error, code } = describe(description, call);
        stdout.write(out);
        stderr.write(error);
        return code;
      }
      const response = await builder.build(request);
      display.close();
      if (!display.quiet) stderr.write(warningSummary(watcher.warnings, debug));
      if (loadFile !== undefined) await loadImage(loadFile, env, controller.signal);
      await report(flags, response, quiet);
      if (builder instanceof Engine) await builder.collectGarbage(controller.signal);
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
      await builder.close().catch(() => undefined);
    }
  } catch (error) {
    stderr.write(plainFailure(explained(error), debug));
    return 1;
  } finally {
    stop();
    await context?.close();
    if (loading) await rm(loading, { recursive: true, force: true });
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
