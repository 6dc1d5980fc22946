// A Dockerfile to one graph and one image config for one platform: which stages are needed, what they stand on, their
// instructions in order.
import { marshal, type Output, type Platform, type SourceInfo } from "../../../llb/index.js";
import type { FrontendHost, FrontendRequest, FrontendResult, Outline, ScanTargets } from "../../types.js";
import { parseDockerfile, type ParsedDockerfile } from "../parser/index.js";
import {
  mountFrom,
  parseStages,
  parseTrigger,
  suggest,
  type DockerfileTree,
  type Instruction,
  type Stage,
} from "../instructions/index.js";
import {
  checkDefaultBaseNames,
  checkFile,
  checkFromArgs,
  checkFromPlatform,
  checkNode,
  checkStageNames,
  type Linter,
} from "../lint/index.js";
import { expandWord, type Expansion } from "../shell/index.js";
import { SourceError, withLocation } from "../source-error.js";
import { ConvertContext } from "./context.js";
import { dispatch, type CommandSources } from "./dispatch.js";
import { cloneImage, emptyImage, encodeImageConfig, setPlatform } from "./image-config.js";
import { parsePlatform } from "./platform.js";
import { initFromImage, type StageState } from "./stage-state.js";
import { BaseResolver, SCRATCH } from "./base-image.js";
import { readGlobalArgs, type GlobalArgs } from "./global-args.js";
import { outlineOf, StageOutline } from "./outline.js";
import { scanTargets, setScanned } from "./scan-targets.js";
import { checkCycles, reachable } from "./stage-graph.js";

export interface ConvertInput {
  readonly request: FrontendRequest;
  readonly host: FrontendHost;
  readonly targetPlatform: Platform;
  readonly showPlatform: boolean;
  readonly dockerfile: ParsedDockerfile;
  readonly sourceInfo: SourceInfo;
  readonly excludes: readonly string[];
  /** `undefined`: the build context is a folder of the client */
  readonly remoteContext: Output | undefined;
  readonly lint: Linter;
  /** look at every stage, not only at those the target needs */
  readonly allStages: boolean;
}

export interface ConvertResult extends FrontendResult {
  readonly outline: Outline;
  readonly scan: ScanTargets;
}

/** @throws SourceError */
export async function convert(input: ConvertInput): Promise<ConvertResult> {
  return new Conversion(input).run();
}

class Conversion {
  readonly #input: ConvertInput;
  readonly #tree: DockerfileTree;
  readonly #context: ConvertContext;
  readonly #globalArgs: GlobalArgs;
  readonly #states: StageState[] = [];
  readonly #usedInFrom = new Set<string>();
  readonly #sources = new Map<Instruction, CommandSources>();
  readonly #bases: BaseResolver;

  constructor(input: ConvertInput) {
    this.#input = input;
    const { request, dockerfile, lint } = input;
    checkFile(dockerfile, lint);
    this.#tree = parseStages(dockerfile.nodes, (node) => checkNode(node, lint));
    const epochText = request.buildArgs["SOURCE_DATE_EPOCH"];
    const epoch = epochText ? parseEpoch(epochText) : undefined;
    this.#context = new ConvertContext({ ...input, shell: { escape: dockerfile.escape }, epoch });
    this.#bases = new BaseResolver(input, this.#context, (state, triggers) =>
      this.#addTriggers(state, triggers),
    );
    const { metaArgs, stages } = this.#tree;
    const lastStage = stages.at(-1)?.name ?? "";
    const readArgs = (buildArgs: FrontendRequest["buildArgs"]): GlobalArgs =>
      readGlobalArgs(
        { ...request, buildArgs },
        input.targetPlatform,
        { metaArgs, lastStage },
        this.#context.shell,
      );
    if (this.#tree.stages.length === 0) throw new SourceError("dockerfile contains no stages to build", []);
    checkStageNames(this.#tree.stages, lint);
    checkDefaultBaseNames(this.#tree.stages, () => readArgs({}).values, this.#context.shell, lint);
    this.#globalArgs = readArgs(request.buildArgs);
  }

  async run(): Promise<ConvertResult> {
    for (const [index, stage] of this.#tree.stages.entries()) this.#addStage(stage, index);
    const target = this.#findTarget();
    const declared = [...this.#states];
    for (const state of declared) this.#findSources(state, state.commands);
    if (this.#states.length === 1) this.#states[0]!.displayName = "";
    checkCycles(this.#states);
    const roots = this.#input.allStages ? declared : [target];
    for (const state of this.#states) if (!state.base) this.#bases.check(state);
    const needed = reachable(roots);
    await Promise.all(
      this.#states
        .filter((state) => needed.has(state) && !state.base)
        .map((state) => this.#bases.resolve(state)),
    );
    // triggers of base images may name further stages and images
    const all = reachable(roots);
    await Promise.all(
      this.#states
        .filter((state) => all.has(state) && !needed.has(state) && !state.base)
        .map((state) => this.#bases.resolve(state)),
    );
    for (const state of this.#states) if (all.has(state)) await this.#dispatchStage(state);
    await this.#dispatchStage(target);
    this.#bases.reads(target, "/");
    this.#bases.sealLocalContexts();
    this.#context.sealContext();
    this.#input.lint.finish();
    return this.#result(target);
  }

  #result(target: StageState): ConvertResult {
    const { request, targetPlatform, sourceInfo } = this.#input;
    const labels = request.labels;
    if (Object.keys(labels).length > 0)
      target.image.config.Labels = { ...target.image.config.Labels, ...labels };
    setPlatform(target.image, request.platforms.length > 0 ? targetPlatform : undefined);
    return {
      platform: targetPlatform,
      definition: target.output && marshal(target.output, [sourceInfo]),
      config: encodeImageConfig(target.image),
      baseConfig: target.baseConfig,
      outline: outlineOf(target),
      scan: scanTargets(target, () => this.#context.buildContext),
    };
  }

  #addStage(stage: Stage, index: number): void {
    try {
      const base = this.#expandFrom(stage, stage.baseName);
      const baseName = base.text;
      if (baseName === "")
        throw this.#blank(`base name (${stage.baseName}) should not be blank`, base.unmatched);
      const state = this.#newState({ ...stage, baseName }, false);
      this.#useInFrom(state, base);
      state.displayName = stage.name === "" ? `stage-${index}` : stage.name;
      if (stage.platform !== "") {
        const expansion = this.#expandFrom(stage, stage.platform);
        const { text } = expansion;
        const targetPlatform = this.#globalArgs.values.get("TARGETPLATFORM") ?? "";
        checkFromPlatform(stage, expansion, targetPlatform, parsePlatform, this.#input.lint);
        this.#useInFrom(state, expansion);
        if (text === "")
          throw this.#blank(`empty platform value from expression ${stage.platform}`, expansion.unmatched);
        try {
          state.platform = parsePlatform(text);
          state.explicitPlatform = true;
        } catch (error) {
          const problem = this.#blank((error as Error).message, expansion.unmatched).message;
          const message = `failed to parse platform ${stage.platform}: ${problem}`;
          throw new SourceError(message, [[stage.range], [stage.range]], error);
        }
      }
      const replaced =
        stage.name !== "" && this.#bases.namedContext(stage.name, state.platform) !== undefined;
      if (replaced) {
        Object.assign(state, { stage: { ...state.stage, baseName: stage.name, commands: [] }, commands: [] });
      } else {
        // as it is written: names of stages are in lower case, FROM does not look past that
        state.base = this.#states.findLast((other) => !other.implicit && other.name === baseName);
        if (state.base) state.deps.set(state.base, undefined);
        if (state.base && !state.explicitPlatform) state.platform = state.base.platform;
      }
      state.commandCount =
        state.commands.filter(isStep).length + (baseName !== SCRATCH && !state.base ? 1 : 0);
      this.#states.push(state);
    } catch (error) {
      throw withLocation(error, [stage.range]);
    }
  }

  #expandFrom(stage: Stage, word: string): Expansion {
    const { values, declared } = this.#globalArgs;
    const expansion = expandWord(word, (name) => values.get(name), this.#context.shell);
    checkFromArgs(expansion, [...declared.keys(), ...values.keys()], stage.range, this.#input.lint);
    return expansion;
  }

  /** What a FROM line uses counts for the stages after it too, as in BuildKit. */
  #useInFrom(state: StageState, { matched }: Expansion): void {
    for (const name of matched) this.#usedInFrom.add(name);
    state.outline.use(this.#usedInFrom);
  }

  /** An error about a word that came out empty, with the variable that may have been meant. */
  #blank(message: string, unmatched: Iterable<string>): Error {
    const known = [...this.#globalArgs.values.keys()];
    const hints = [...unmatched].map((name) => suggest(message, name, known, false));
    return new Error(hints.find((hint) => hint !== message) ?? message);
  }

  #newState(stage: Stage, implicit: boolean): StageState {
    const { targetPlatform, request } = this.#input;
    return {
      stage,
      displayName: "",
      name: stage.name,
      implicit,
      fromMount: false,
      base: undefined,
      deps: new Map(),
      platform: targetPlatform,
      explicitPlatform: false,
      output: undefined,
      env: [],
      dir: "/",
      user: "",
      image: emptyImage(targetPlatform),
      baseConfig: undefined,
      commands: stage.commands,
      buildArgs: [],
      outline: new StageOutline(this.#globalArgs.declared),
      once: new Map(),
      scanned: { isStage: false, isContext: false },
      workdirSet: false,
      commandCount: 0,
      commandIndex: 0,
      dispatched: false,
      noCache:
        request.noCache === true || (Array.isArray(request.noCache) && request.noCache.includes(stage.name)),
      epoch: this.#context.epoch,
    };
  }

  #findByName(name: string): StageState | undefined {
    const lower = name.toLowerCase();
    return this.#states.findLast((state) => !state.implicit && state.name === lower);
  }

  #findTarget(): StageState {
    const { target } = this.#input.request;
    if (target === "") return this.#states[this.#states.length - 1]!;
    const found = this.#findByName(target);
    if (found) return found;
    const names = this.#tree.stages.map((stage) => stage.name).filter((name) => name !== "");
    throw new SourceError(
      suggest(`target stage ${JSON.stringify(target)} could not be found`, target, names, true),
      [],
    );
  }

  /** Which stages and images the instructions of `state` read from. */
  #findSources(state: StageState, commands: readonly Instruction[]): void {
    for (const command of commands) {
      const sources: { from?: StageState; mounts: (StageState | undefined)[] } = { mounts: [] };
      if (command.kind === "COPY" && command.from !== "")
        sources.from = this.#sourceStage(command.from, command);
      if (command.kind === "RUN") {
        for (const flag of command.mounts) {
          const from = mountFrom(flag);
          const cache = /(^|,)type=cache(,|$)/i.test(flag);
          const implicit = this.#sourceStage(from === "" ? SCRATCH : from, command);
          sources.mounts.push(from === "" && !cache ? undefined : implicit);
        }
      }
      for (const source of [sources.from, ...sources.mounts]) {
        if (source) state.deps.set(source, command);
      }
      this.#sources.set(command, sources);
    }
  }

  #sourceStage(name: string, command: Instruction): StageState {
    if (name.includes("$")) {
      throw new SourceError(
        "variable expansion is not supported for --from, define a new stage with FROM using ARG from global scope as a workaround",
        [],
      );
    }
    if (command.kind === "COPY" && /^\d+$/.test(name)) {
      const found = this.#states[Number(name)];
      if (!found || found.implicit) throw new SourceError(`invalid stage index ${name}`, []);
      return found;
    }
    const known = this.#findByName(name);
    if (known) return known;
    const { range } = command;
    const stage: Stage = {
      name: "",
      originalName: "",
      baseName: name,
      platform: "",
      commands: [],
      sourceCode: "",
      range,
      comments: [],
    };
    const state = { ...this.#newState(stage, true), fromMount: command.kind === "RUN" };
    this.#states.push(state);
    return state;
  }

  /** Puts the triggers of a base in front of the instructions of the stage that stands on it. */
  #addTriggers(state: StageState, triggers: readonly string[] | undefined): void {
    if (!triggers || triggers.length === 0) return;
    const { range } = state.stage;
    const commands = triggers.map((trigger) => {
      const node = parseDockerfile(Buffer.from(trigger)).nodes[0]!;
      return parseTrigger({ ...node, range });
    });
    state.commands = [...commands, ...state.commands];
    state.commandCount += commands.length;
    this.#findSources(state, commands);
  }

  async #dispatchStage(state: StageState): Promise<void> {
    if (state.dispatched) return;
    state.dispatched = true;
    // Not recursive over bases alone: thousands of stages may stand on each other, in order of the file.
    if (state.base) {
      await this.#dispatchStage(state.base);
      this.#inherit(state, state.base);
    }
    for (const command of state.commands) {
      const sources = this.#sources.get(command);
      for (const source of [sources?.from, ...(sources?.mounts ?? [])])
        if (source) await this.#ready(source, state);
    }
    initFromImage(state);
    for (const command of state.commands) {
      // a command may read anything
      if (command.kind === "RUN") this.#bases.reads(state, "/");
      dispatch(state, command, this.#sources.get(command)!, {
        context: this.#context,
        globalArgs: this.#globalArgs.values,
        sourceOf: (source, path) => {
          this.#bases.reads(source, path);
          return source.output;
        },
      });
    }
    setScanned(state, this.#globalArgs.values);
  }

  /** Makes what `state` reads of; a stage that stands after it is not made: who reads it says so. */
  async #ready(source: StageState, state: StageState): Promise<void> {
    if (source.dispatched) return;
    if (!source.implicit && this.#states.indexOf(source) > this.#states.indexOf(state)) return;
    let bottom = source;
    while (bottom.base) bottom = bottom.base;
    if (!bottom.dispatched && bottom.output === undefined && bottom.stage.baseName !== SCRATCH)
      await this.#bases.resolve(bottom);
    await this.#dispatchStage(source);
  }

  #inherit(state: StageState, base: StageState): void {
    state.output = base.output;
    state.env = base.env;
    state.dir = base.dir;
    state.user = base.user;
    state.platform = base.platform;
    state.image = cloneImage(base.image);
    state.baseConfig = base.baseConfig;
    state.buildArgs = [...base.buildArgs];
    state.workdirSet = base.workdirSet;
    const triggers = state.image.config.OnBuild;
    delete state.image.config.OnBuild;
    this.#addTriggers(state, triggers);
  }
}

function isStep(command: Instruction): boolean {
  return (
    command.kind === "ADD" || command.kind === "COPY" || command.kind === "RUN" || command.kind === "WORKDIR"
  );
}

/** @throws SourceError if it is not a number of seconds */
function parseEpoch(text: string): Date {
  if (!/^-?\d+$/.test(text))
    throw new SourceError(
      `invalid SOURCE_DATE_EPOCH: ${text}: strconv.ParseInt: parsing ${JSON.stringify(text)}: invalid syntax`,
      [],
    );
  return new Date(Number(text) * 1000);
}
