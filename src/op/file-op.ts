// File ops: copies, folders and files without running anything.
import { posix } from "node:path";
import { digestOf, goJson, hasWildcards, type GoValue } from "../lib/index.js";
import type { ChownOpt, DefinitionOp, FileAction, FileOp as FileBody, UserOpt } from "../llb/index.js";
import type { Ref } from "../snapshot/index.js";
import { TaskError } from "../worker/index.js";
import type { CacheMap, Op } from "../solver/index.js";
import { contentDigest, pathSelector, selectorDigest, type Selector } from "./content-key.js";
import type { OpContext, RefResult } from "./context.js";
import { isLocalResult } from "./local-op.js";

export class FileOp implements Op<RefResult> {
  readonly #actions: readonly FileAction[];
  readonly #inputCount: number;
  readonly #name: string;
  readonly #context: OpContext;

  /** @param name of the step: what it makes is described by it */
  constructor(op: DefinitionOp, file: FileBody, name: string, context: OpContext) {
    this.#actions = file.actions;
    this.#name = name;
    this.#inputCount = op.op.inputs.length;
    this.#context = context;
  }

  async cacheMaps(): Promise<readonly CacheMap<RefResult>[]> {
    const inputs = Array.from({ length: this.#inputCount }, (_, i) => {
      if (this.#actions.some((action) => action.input === i)) return {};
      const selectors = this.#actions.flatMap((action) => [
        ...namesRead(action, i),
        ...(action.secondaryInput === i ? selectorOf(action) : []),
      ]);
      if (selectors.length === 0) return {};
      // longest first, as BuildKit sorts them
      const paths = selectors.map(({ path }) => path).sort((a, b) => (a < b ? 1 : a > b ? -1 : 0));
      return {
        selector: selectorDigest(paths),
        contentDigest: contentDigest(this.#context, i, selectors, isLocalResult),
      };
    });
    return [{ digest: digestOf(fileKey(this.#actions, this.#inputCount)), inputs }];
  }

  /** Actions that only follow one another write one layer; what is used otherwise as well becomes one of its own. */
  async run(inputs: readonly RefResult[], signal: AbortSignal): Promise<readonly RefResult[]> {
    const states: (Ref | undefined)[] = inputs.map(({ ref }) => ref);
    const outputs: RefResult[] = [];
    for (const batch of batches(this.#actions, this.#inputCount)) {
      const ref = await this.#perform(batch, states, signal);
      // only the last of them can be asked for
      for (let i = 0; i < batch.length; i++) states.push(ref);
      const { output } = batch.at(-1)!;
      if (output >= 0) outputs[output] = { ref };
    }
    return outputs;
  }

  /** @param states the inputs, and what the actions so far have made */
  async #perform(
    actions: readonly FileAction[],
    states: readonly (Ref | undefined)[],
    signal: AbortSignal,
  ): Promise<Ref> {
    const { refs, worker, made } = this.#context;
    const first = actions[0]!;
    const base = first.input < 0 ? undefined : states[first.input];
    const layers = await refs.folders(base, signal);
    const sources = await Promise.all(
      actions.map(async ({ secondaryInput }) =>
        secondaryInput < 0 ? undefined : await refs.tree(states[secondaryInput], signal),
      ),
    );
    const { upper, work } = refs.newFolders();
    try {
      await worker.perform("file", { target: { layers, upper, work }, actions, sources }, signal);
      const ref = await refs.commit(upper, base, this.#name);
      made(ref);
      return ref;
    } catch (error) {
      if (!signal.aborted) await this.#leave(error, states, upper);
      await refs.discard(upper);
      throw error;
    }
  }

  /** Keeps what the action that failed worked on. @param upper what its batch has written so far */
  async #leave(error: unknown, states: readonly (Ref | undefined)[], upper: string): Promise<void> {
    const { refs, failed, transient } = this.#context;
    if (!failed || !(error instanceof TaskError) || error.part === undefined) return;
    const first = states.length - this.#inputCount;
    const index = first + error.part;
    const { secondaryInput } = this.#actions[index]!;
    const { input } = this.#actions[first]!;
    try {
      const mounts = this.#actions.map((): Ref | undefined => undefined);
      if (secondaryInput >= this.#inputCount)
        mounts[secondaryInput - this.#inputCount] = states[secondaryInput];
      const made = await refs.commit(upper, input < 0 ? undefined : states[input], "failed file op");
      transient(made);
      mounts[index] = made;
      failed(error, { inputs: states.slice(0, this.#inputCount), mounts, subject: { kind: "file", index } });
    } catch {
      // the op's own error is what counts
    }
  }
}

/** Runs of actions each of which is the only one to use what the one before it made. */
function batches(actions: readonly FileAction[], inputCount: number): FileAction[][] {
  const uses = new Map<number, number>();
  for (const { input, secondaryInput } of actions)
    for (const used of [input, secondaryInput]) uses.set(used, (uses.get(used) ?? 0) + 1);
  const result: FileAction[][] = [];
  actions.forEach((action, i) => {
    const before = actions[i - 1];
    const goesOn =
      before !== undefined &&
      action.input === inputCount + i - 1 &&
      before.output < 0 &&
      uses.get(inputCount + i - 1) === 1;
    if (goesOn) result.at(-1)!.push(action);
    else result.push([action]);
  });
  return result;
}

/** Files in which the names of owners are looked up. @param index of the input they are looked up in */
function namesRead(action: FileAction, index: number): Selector[] {
  const owner = ownerOf(action);
  const looksIn = (opt: UserOpt | undefined): boolean => opt?.kind === "byName" && opt.input === index;
  return [
    ...(looksIn(owner?.user) ? [pathSelector("/etc/passwd", true)] : []),
    ...(looksIn(owner?.group) ? [pathSelector("/etc/group", true)] : []),
  ];
}

function ownerOf(action: FileAction): ChownOpt | undefined {
  switch (action.kind) {
    case "copy":
      return action.copy.owner;
    case "mkfile":
      return action.mkfile.owner;
    case "mkdir":
      return action.mkdir.owner;
    case "symlink":
    case "rm":
      return undefined;
  }
}

function selectorOf(action: FileAction): Selector[] {
  if (action.kind !== "copy") return [];
  const { src, allowWildcard, followSymlink, includePatterns, excludePatterns } = action.copy;
  return [
    {
      path: src,
      wildcard: allowWildcard && hasWildcards(src),
      followLinks: followSymlink,
      includePatterns,
      excludePatterns,
    },
  ];
}

/** The text behind a file op's key: base64 of each action's JSON. Indexes only where they are not the usual ones. */
export function fileKey(actions: readonly FileAction[], inputCount: number): string {
  const indexes = actions.map(
    ({ input, secondaryInput, output }) => [input, secondaryInput, output] as const,
  );
  return goJson({
    Type: "buildkit.file.v0",
    Actions: actions.map((action) => Buffer.from(actionKey(action, inputCount)).toString("base64")),
    indexes: usual(indexes) ? undefined : indexes,
  });
}

/** The pattern that BuildKit left out of keys to stay compatible with its first version, its slip included. */
function usual(indexes: readonly (readonly [number, number, number])[]): boolean {
  return indexes.every(([input, secondary, output], i) => {
    const last = i === indexes.length - 1;
    const wanted = i === 0 ? 0 : indexes.length + i - 1;
    return input === wanted && (secondary === -1 || secondary === 1) && output === (last ? 0 : -1);
  });
}

function actionKey(action: FileAction, inputCount: number): string {
  const text = (value: string): string | undefined => (value === "" ? undefined : value);
  const time = (value: bigint): number | undefined => (value === 0n ? undefined : Number(value));
  const list = (value: readonly string[]): readonly string[] | undefined =>
    value.length > 0 ? value : undefined;
  const json = (value: GoValue, timestamp: bigint | undefined): string => {
    const encoded = goJson(value);
    // nanoseconds are beyond what a number holds exactly
    return timestamp !== undefined && timestamp > 0n
      ? encoded.replace(/"timestamp":\d+/, `"timestamp":${timestamp}`)
      : encoded;
  };
  switch (action.kind) {
    case "copy": {
      const { copy } = action;
      const reads = action.secondaryInput >= 0 && action.secondaryInput < inputCount;
      return json(
        {
          src: text(reads ? posix.basename(copy.src) || "/" : copy.src),
          dest: text(copy.dest),
          owner: ownerKey(copy.owner),
          mode: copy.mode || undefined,
          followSymlink: copy.followSymlink || undefined,
          dirCopyContents: copy.dirCopyContents || undefined,
          attemptUnpackDockerCompatibility: copy.attemptUnpackDockerCompatibility || undefined,
          createDestPath: copy.createDestPath || undefined,
          allowWildcard: copy.allowWildcard || undefined,
          allowEmptyWildcard: copy.allowEmptyWildcard || undefined,
          timestamp: time(copy.timestamp),
          include_patterns: list(copy.includePatterns),
          exclude_patterns: list(copy.excludePatterns),
          alwaysReplaceExistingDestPaths: copy.alwaysReplaceExistingDestPaths || undefined,
          modeStr: text(copy.modeStr),
          required_paths: list(copy.requiredPaths),
        },
        copy.timestamp,
      );
    }
    case "mkfile": {
      const { path, mode, data, owner, timestamp } = action.mkfile;
      const encoded = data.length > 0 ? Buffer.from(data).toString("base64") : undefined;
      return json(
        {
          path: text(path),
          mode: mode || undefined,
          data: encoded,
          owner: ownerKey(owner),
          timestamp: time(timestamp),
        },
        timestamp,
      );
    }
    case "mkdir": {
      const { path, mode, makeParents, owner, timestamp } = action.mkdir;
      return json(
        {
          path: text(path),
          mode: mode || undefined,
          makeParents: makeParents || undefined,
          owner: ownerKey(owner),
          timestamp: time(timestamp),
        },
        timestamp,
      );
    }
    case "rm": {
      const { path, allowNotFound, allowWildcard } = action.rm;
      return json(
        {
          path: text(path),
          allowNotFound: allowNotFound || undefined,
          allowWildcard: allowWildcard || undefined,
        },
        undefined,
      );
    }
    case "symlink": {
      const { oldpath, newpath, owner, timestamp } = action.symlink;
      return json(
        {
          oldpath: text(oldpath),
          newpath: text(newpath),
          owner: ownerKey(owner),
          timestamp: time(timestamp),
        },
        timestamp,
      );
    }
  }
}

function ownerKey(owner: ChownOpt | undefined): GoValue {
  const user = (opt: UserOpt): GoValue =>
    opt.kind === "byID"
      ? { User: { byId: opt.id || undefined } }
      : { User: { byName: { name: opt.name || undefined, input: opt.input || undefined } } };
  return owner && { user: owner.user && user(owner.user), group: owner.group && user(owner.group) };
}
