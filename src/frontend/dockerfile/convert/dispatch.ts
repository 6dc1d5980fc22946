// One instruction applied to a stage: file operations go to copy.ts and run.ts, the rest only changes the environment
// and the image config.
import { constants } from "node:os";
import { posix } from "node:path";
import { file, parseOwner, type Output } from "../../../llb/index.js";
import { compareBytes } from "../../../lib/index.js";
import { goQuote } from "../parser/index.js";
import type { Instruction, InstructionOf, KeyValue } from "../instructions/index.js";
import { checkSecretName } from "../lint/index.js";
import { expandWord } from "../shell/index.js";
import { withLocation } from "../source-error.js";
import type { ConvertContext } from "./context.js";
import { dispatchCopy } from "./copy.js";
import { parsePorts } from "./expose.js";
import { setKey } from "./image-config.js";
import {
  checkIgnored,
  checkLegacyForm,
  checkOnce,
  expandLinted,
  isRemote,
  NOT_IN_ENV,
} from "./instruction-checks.js";
import { clean } from "./path.js";
import { dispatchRun, shellOf } from "./run.js";
import { commitHistory, envLookup, setConfigEnv, setEnv, type StageState } from "./stage-state.js";
import { commandText, stepName } from "./step-name.js";

export interface CommandSources {
  /** COPY --from */
  readonly from?: StageState;
  /** RUN --mount=from=..., one for each mount */
  readonly mounts: readonly (StageState | undefined)[];
}

export interface DispatchOptions {
  readonly context: ConvertContext;
  readonly globalArgs: ReadonlyMap<string, string>;
  readonly sourceOf: (state: StageState, path: string) => Output | undefined;
}

/** @throws SourceError at the instruction */
export function dispatch(
  state: StageState,
  command: Instruction,
  sources: CommandSources,
  options: DispatchOptions,
): void {
  try {
    apply(state, command, sources, options);
  } catch (error) {
    throw withLocation(error, [command.range]);
  }
}

function apply(
  state: StageState,
  command: Instruction,
  sources: CommandSources,
  options: DispatchOptions,
): void {
  const { context } = options;
  const { config } = state.image;
  const expand = (word: string): string => expandLinted(state, command, word, context);
  const commit = (text: string): void => commitHistory(state, text, false);
  switch (command.kind) {
    case "ENV": {
      checkLegacyForm(command, context);
      const pairs = expandPairs(command.pairs, expand);
      for (const { key, value } of pairs) {
        checkSecretName("ENV", key, command.range, context.lint);
        state.env = setEnv(state.env, key, value);
        config.Env = setConfigEnv(config.Env ?? [], key, value);
      }
      return commit(`ENV ${pairs.map(({ key, value }) => `${key}=${value}`).join(" ")}`);
    }
    case "LABEL": {
      checkLegacyForm(command, context);
      const pairs = expandPairs(command.pairs, expand);
      for (const { key, value } of pairs) config.Labels = setKey(config.Labels, key, value);
      return commit(`LABEL ${pairs.map(({ key, value }) => `${key}=${value}`).join(" ")}`);
    }
    case "MAINTAINER":
      state.image.author = command.maintainer;
      return commit(`MAINTAINER ${command.maintainer}`);
    case "ARG":
      return dispatchArg(state, command, options);
    case "WORKDIR":
      return dispatchWorkdir(context, state, command, expand(command.path));
    case "USER": {
      const user = expand(command.user);
      state.user = user;
      config.User = user;
      return commit(`USER ${user}`);
    }
    case "CMD": {
      const args = withShell(state, command, context);
      config.Cmd = args;
      config.ArgsEscaped = true;
      return commit(`CMD ${quoted(args)}`);
    }
    case "ENTRYPOINT": {
      const args = withShell(state, command, context);
      config.Entrypoint = args;
      if (!cmdWasSet(state)) config.Cmd = null;
      return commit(`ENTRYPOINT ${quoted(args)}`);
    }
    case "HEALTHCHECK": {
      checkOnce(state, command, context);
      config.Healthcheck = command.check;
      return commit(`HEALTHCHECK ${healthcheckText(command)}`);
    }
    case "EXPOSE": {
      const words = command.ports.flatMap(
        (port) => expandWord(port, envLookup(state.env), context.shell).words,
      );
      const ports = parsePorts(words, (rule, detail) => context.lint.warn(rule, command.range, detail));
      for (const port of ports) config.ExposedPorts = setKey(config.ExposedPorts, port, {});
      return commit(`EXPOSE [${ports.join(" ")}]`);
    }
    case "VOLUME": {
      const volumes = command.volumes.map(expand);
      for (const volume of volumes) {
        if (volume === "") throw new Error("VOLUME specified can not be an empty string");
        config.Volumes = setKey(config.Volumes, volume, {});
      }
      return commit(`VOLUME [${volumes.join(" ")}]`);
    }
    case "STOPSIGNAL": {
      const signal = expand(command.signal);
      if (!isSignal(signal)) throw new Error(`invalid signal: ${signal}`);
      config.StopSignal = signal;
      return commit(`STOPSIGNAL ${signal}`);
    }
    case "SHELL":
      config.Shell = [...command.shell];
      return commit(`SHELL [${command.shell.join(" ")}]`);
    case "ONBUILD":
      config.OnBuild = [...(config.OnBuild ?? []), command.expression];
      return;
    case "RUN": {
      const mounts = command.mounts.map((_, i) => {
        const from = sources.mounts[i];
        if (!from) return "context" as const;
        return { isReady: from.dispatched, read: (path: string) => options.sourceOf(from, path) };
      });
      return dispatchRun(context, state, command, mounts, expand);
    }
    case "COPY":
    case "ADD": {
      const paths = command.sources.map(expand);
      const common = {
        sources: paths,
        dest: expand(command.dest),
        chown: expand(command.flags.chown),
        chmod: expand(command.flags.chmod),
      };
      const joined = paths.map((path) => clean(posix.join("/", path)));
      let from: Output | undefined;
      if (sources.from) {
        if (!sources.from.dispatched && command.kind === "COPY") throw tooEarly(command, state);
        for (const path of joined) from = options.sourceOf(sources.from, path);
        if (joined.length === 0) from = options.sourceOf(sources.from, "/");
      } else {
        const local = joined.filter((_, i) => !isRemote(paths[i]!));
        for (const path of local) context.contextPaths.add(path);
        checkIgnored(command, paths, context);
        from = local.length > 0 ? context.buildContext : undefined;
      }
      const expanded = command.kind === "ADD" ? { ...command, checksum: expand(command.checksum) } : command;
      return dispatchCopy(context, state, expanded, from, common);
    }
  }
}

function tooEarly({ from }: InstructionOf<"COPY">, { displayName }: StageState): Error {
  const [source, current] = [goQuote(from), goQuote(displayName)];
  return new Error(
    `cannot copy from stage ${source}, it needs to be defined before current stage ${current}`,
  );
}

const CMD_SET = new WeakSet<StageState>();

/** ENTRYPOINT drops an inherited CMD, but not one of the same stage. */
function cmdWasSet(state: StageState): boolean {
  return CMD_SET.has(state);
}

function withShell(
  state: StageState,
  command: InstructionOf<"CMD" | "ENTRYPOINT">,
  context: ConvertContext,
): string[] {
  const { kind, range } = command;
  if (kind === "CMD") CMD_SET.add(state);
  checkOnce(state, command, context);
  const { args, exec } = command.command;
  if (!exec && (state.image.config.Shell ?? []).length === 0) {
    const detail = `JSON arguments recommended for ${kind} to prevent unintended behavior related to OS signals`;
    context.lint.warn("JSONArgsRecommended", range, detail);
  }
  return exec ? [...args] : [...shellOf(state), args.join(" ")];
}

function dispatchArg(
  state: StageState,
  command: InstructionOf<"ARG">,
  { context, globalArgs }: DispatchOptions,
): void {
  const { buildArgs } = context.request;
  const shown: string[] = [];
  for (const pair of command.pairs) {
    const key = expandWord(pair.key, envLookup(state.env), context.shell).text;
    checkSecretName("ARG", key, command.range, context.lint);
    const isGiven = Object.hasOwn(buildArgs, key);
    let value: string | undefined;
    if (isGiven) value = buildArgs[key];
    else if (pair.value !== undefined) value = expandLinted(state, command, pair.value, context);
    else value = globalArgs.get(key);
    const isInherited = !isGiven && pair.value === undefined && value !== undefined;
    const { range, comments } = command;
    state.outline.declare(key, isInherited ? undefined : { value, range, comments, uses: new Set() });
    if (value !== undefined && !NOT_IN_ENV.has(key)) state.env = setEnv(state.env, key, value);
    state.buildArgs.push({ key, value });
    shown.push(value === undefined ? key : `${key}=${value}`);
  }
  commitHistory(state, `ARG ${shown.join(" ")}`, false);
}

function dispatchWorkdir(
  context: ConvertContext,
  state: StageState,
  command: InstructionOf<"WORKDIR">,
  path: string,
): void {
  if (!state.workdirSet && !posix.isAbsolute(path)) {
    const detail = `Relative workdir ${goQuote(path)} can have unexpected results if the base image changes`;
    context.lint.warn("WorkdirRelativePath", command.range, detail);
  }
  state.workdirSet = true;
  const dir = posix.isAbsolute(path)
    ? path
    : clean(posix.join("/", state.image.config.WorkingDir ?? "/", path));
  state.dir = dir;
  state.image.config.WorkingDir = dir;
  if (dir !== "/") {
    const owner = state.user === "" ? undefined : parseOwner(state.user);
    const timestamp = state.epoch ? BigInt(state.epoch.getTime()) * 1_000_000n : -1n;
    const mkdir = { path: clean(dir), mode: 0o755, makeParents: true, timestamp, ...(owner && { owner }) };
    const text = commandText(
      `${command.fromOnbuild ? "ONBUILD " : ""}${command.original}`,
      state.env,
      context.shell,
    );
    state.output = file(state.output, [{ kind: "mkdir", mkdir }], {
      customName: stepName(state, text, context.showPlatform ? state.platform : undefined),
      locations: context.locations(command.range),
    });
  }
  commitHistory(state, `WORKDIR ${dir}`, dir !== "/");
}

function expandPairs(
  pairs: readonly KeyValue[],
  expand: (word: string) => string,
): { key: string; value: string }[] {
  // the whole instruction sees the environment before it
  return pairs.map(({ key, value }) => ({ key: expand(key), value: expand(value) }));
}

function quoted(args: readonly string[]): string {
  return `[${args.map(goQuote).join(" ")}]`;
}

function healthcheckText({ check }: InstructionOf<"HEALTHCHECK">): string {
  const time = (value: number | undefined): string => goDuration(value ?? 0);
  return (
    `{Test:[${check.Test.join(" ")}] Interval:${time(check.Interval)} Timeout:${time(check.Timeout)} ` +
    `StartPeriod:${time(check.StartPeriod)} StartInterval:${time(check.StartInterval)} Retries:${check.Retries ?? 0}}`
  );
}

/** Go's time.Duration.String. */
function goDuration(nanoseconds: number): string {
  if (nanoseconds === 0) return "0s";
  if (nanoseconds < 1e3) return `${nanoseconds}ns`;
  if (nanoseconds < 1e6) return `${nanoseconds / 1e3}µs`;
  if (nanoseconds < 1e9) return `${nanoseconds / 1e6}ms`;
  const seconds = nanoseconds / 1e9;
  const h = Math.floor(seconds / 3600);
  const m = Math.floor((seconds % 3600) / 60);
  const s = Number((seconds % 60).toFixed(9));
  return `${h > 0 ? `${h}h` : ""}${h > 0 || m > 0 ? `${m}m` : ""}${s}s`;
}

function isSignal(text: string): boolean {
  if (/^[+-]?\d+$/.test(text)) return Number(text) !== 0;
  const name = text.toUpperCase().replace(/^SIG/, "");
  return `SIG${name}` in constants.signals || /^RTM(IN|AX)([+-]\d+)?$/.test(name) || name === "CLD";
}

/** Used by the caller to write names of a set in a stable order. */
export function inOrder(names: Iterable<string>): string[] {
  return [...names].sort(compareBytes);
}
