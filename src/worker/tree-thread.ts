// The entry of a worker thread: takes tasks, one message each, and answers with their result or error.
import { readlinkSync } from "node:fs";
import { join } from "node:path";
import { parentPort, workerData } from "node:worker_threads";
import { BuildError, codeOf, messageOf } from "../lib/index.js";
import {
  applyLayer,
  FolderListing,
  convertLayer,
  inheritFolders,
  KeptDigests,
  TreeChecksum,
  writeLayer,
} from "../layer/index.js";
import { bytePath, inUserNamespace, textOf } from "../linux/index.js";
import { diskUsage } from "./disk-usage.js";
import { runExportTask } from "./export-task.js";
import { runFileTask } from "./file-task.js";
import { runCompareTask } from "./compare-task.js";
import { runListTask } from "./list-task.js";
import { runLocateTask } from "./locate-task.js";
import { runLocalTask } from "./local-task.js";
import { Mounts } from "./mounts.js";
import type { ThreadMessage, ThreadReply } from "./protocol.js";
import { runReadTask } from "./read-task.js";
import { ProcessControl } from "../executor/index.js";
import { TaskError } from "./task-error.js";
import { chooseRuntime, execTask, runTask } from "./run-task.js";
import type { TaskMap, TaskName, RunTask } from "./types.js";

interface ThreadData {
  readonly stateRoot: string;
  readonly own: string;
  readonly name: string;
}

const { stateRoot, own, name } = workerData as ThreadData;
const port = parentPort!;
const running = new Map<number, AbortController>();
/** of processes that are interactive */
const inputs = new Map<number, ProcessControl>();
let isEnding = false;
Mounts.prepareThread(stateRoot);

const canceled = (): BuildError => new BuildError("CANCELED", "context canceled");
const endIfIdle = (): void => {
  if (isEnding && running.size === 0) process.exit();
};

port.on("message", (message: ThreadMessage) => {
  if (message.kind === "end") {
    isEnding = true;
    for (const controller of running.values()) controller.abort(canceled());
    endIfIdle();
    return;
  }
  if (message.kind === "abort") {
    running.get(message.id)?.abort(canceled());
    return;
  }
  if (message.kind === "input") {
    const stdin = inputs.get(message.id)?.stdin;
    if (message.chunk) stdin?.write(message.chunk);
    else stdin?.end();
    return;
  }
  if (message.kind === "signal") {
    inputs.get(message.id)?.kill(message.signal);
    return;
  }
  if (message.kind === "resize") {
    inputs.get(message.id)?.resize(message.size);
    return;
  }
  const { id, task, params } = message;
  const { isInteractive, hasTerminal = false } = params as Partial<RunTask>;
  if (task === "exec" || isInteractive) inputs.set(id, new ProcessControl(hasTerminal));
  const controller = new AbortController();
  running.set(id, controller);
  const reply = (answer: ThreadReply): void => port.postMessage(answer);
  perform(task, params as never, id, controller.signal)
    .then((result) => reply({ kind: "result", id, result }))
    .catch((error: unknown) =>
      reply({
        kind: "error",
        id,
        code: codeOf(error) ?? "TASK_FAILED",
        message: messageOf(error),
        stack: (error as Error).stack ?? "",
        part: error instanceof TaskError ? error.part : undefined,
      }),
    )
    .finally(() => {
      running.delete(id);
      inputs.delete(id);
      endIfIdle();
    });
});

async function perform<K extends TaskName>(
  task: K,
  params: TaskMap[K]["params"],
  id: number,
  signal: AbortSignal,
): Promise<unknown> {
  using mounts = new Mounts(stateRoot, own, `${name}${id}`);
  const onOutput = (stream: 1 | 2, chunk: Uint8Array): void =>
    port.postMessage({ kind: "output", id, stream, chunk } satisfies ThreadReply);
  const control = inputs.get(id);
  const onStarted = control && ((): void => port.postMessage({ kind: "started", id } satisfies ThreadReply));
  const tasks: { [T in TaskName]: (p: TaskMap[T]["params"]) => Promise<unknown> } = {
    apply: (p) =>
      applyLayer({ ...p, target: mounts.absolute(p.target), userXattr: inUserNamespace() }, signal),
    inherit: async (p) =>
      inheritFolders(
        mounts.absolute(p.target),
        [...p.layers].reverse().map((layer) => mounts.absolute(layer)),
        p.names,
      ),
    diff: (p) =>
      writeLayer(
        p.file,
        {
          upper: mounts.absolute(p.layer),
          lower: p.layers.length === 0 ? undefined : mounts.view({ kind: "layers", layers: p.layers }),
          compression: p.compression,
          level: p.level,
          clampTime: p.clampTime,
        },
        signal,
      ),
    convert: (p) => convertLayer(p.file, p, signal),
    checksum: async (p) => {
      const kept =
        p.kept === undefined
          ? undefined
          : new KeptDigests(join(stateRoot, p.kept), join(own, `d${name}${id}`));
      const checksum = new TreeChecksum(mounts.view(p.tree), p.anonymousRoot, kept);
      const digests = p.requests.map((request) =>
        checksum.digest({ ...request, path: bytePath(request.path) }),
      );
      kept?.save();
      return digests;
    },
    file: (p) => runFileTask(p, mounts),
    compare: async (p) => runCompareTask(p, mounts),
    local: async (p) =>
      runLocalTask(
        { ...p, listing: p.listing && join(stateRoot, p.listing) },
        mounts.absolute(p.target),
        p.previous && {
          folder: mounts.absolute(p.previous.folder),
          listing: FolderListing.read(join(stateRoot, p.previous.listing)),
          takenAt: p.previous.takenAt,
        },
      ),
    list: async (p) => runListTask(mounts.view(p.tree), p),
    locate: async ({ layers, paths }) =>
      runLocateTask(
        layers.map((layer) => mounts.absolute(layer)),
        paths,
      ),
    read: async (p) => runReadTask(mounts.view(p.tree), p),
    export: async (p) => runExportTask(p, mounts),
    show: (p) =>
      new Promise<void>((resolve) => {
        signal.addEventListener("abort", () => resolve());
        // "PID/task/TID": whose mounts they are
        const root = `/proc/${readlinkSync("/proc/thread-self")}/root${textOf(mounts.view(p.tree))}`;
        port.postMessage({ kind: "shown", id, root } satisfies ThreadReply);
      }),
    usage: async (p) => p.folders.map((folder) => diskUsage(mounts.absolute(folder))),
    probe: async (p) => {
      chooseRuntime(p.runtime, own);
    },
    exec: (p) => execTask(p, { signal, onOutput, control, onStarted }),
    run: (p) => runTask(p, { mounts, own, signal, onOutput, control, onStarted }),
  };
  return await tasks[task](params);
}
