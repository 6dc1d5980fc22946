// The threads of one engine: one for containers (they run side by side in it, each a process of its own) and a few for
// work on files. They start when they are first needed and don't keep the process alive.
import { Worker as Thread } from "node:worker_threads";
import { BuildError } from "../lib/index.js";
import type { ThreadMessage, ThreadReply } from "./protocol.js";
import type { WindowSize } from "../linux/index.js";
import { TaskError } from "./task-error.js";
import type { TaskMap, TaskName } from "./types.js";

export interface WorkerOptions {
  readonly stateRoot: string;
  /** this process's own folder below it */
  readonly own: string;
  /** threads for work on files */
  readonly fileThreads: number;
}

export type OutputListener = (stream: 1 | 2, chunk: Uint8Array) => void;

/** What goes to a process that is interactive. */
export interface ProcessInput {
  /** @param chunk of its standard input; `undefined` is its end */
  write(chunk: Uint8Array | undefined): void;
  /** @param signal "SIGTERM" */
  signal(signal: string): void;
  /** of its terminal, if it has one */
  resize(size: WindowSize): void;
}

export interface ProcessListeners {
  readonly onOutput: OutputListener;
  /** told at once, before the process runs */
  readonly onInput?: (input: ProcessInput) => void;
  /** told when it runs, if it is interactive */
  readonly onStarted?: () => void;
}

interface Pending {
  readonly resolve: (result: never) => void;
  readonly reject: (error: Error) => void;
  readonly listeners: ProcessListeners | undefined;
}

interface Slot {
  readonly thread: Thread;
  readonly pending: Map<number, Pending>;
}

export class Worker {
  readonly #options: WorkerOptions;
  readonly #files: Slot[] = [];
  #containers: Slot | undefined;
  #nextId = 0;
  /** from then on the threads keep the process alive until they have ended */
  #closing = false;

  constructor(options: WorkerOptions) {
    this.#options = options;
  }

  async perform<K extends TaskName>(
    task: K,
    params: TaskMap[K]["params"],
    signal: AbortSignal,
    listeners?: ProcessListeners,
  ): Promise<TaskMap[K]["result"]> {
    signal.throwIfAborted();
    const slot =
      task === "run" || task === "exec" || task === "probe"
        ? (this.#containers ??= this.#start("c"))
        : this.#fileSlot();
    const id = ++this.#nextId;
    const abort = (): void => slot.thread.postMessage({ kind: "abort", id } satisfies ThreadMessage);
    signal.addEventListener("abort", abort, { once: true });
    try {
      return await new Promise<TaskMap[K]["result"]>((resolve, reject) => {
        slot.pending.set(id, { resolve: resolve, reject, listeners });
        slot.thread.ref();
        slot.thread.postMessage({ kind: "task", id, task, params } satisfies ThreadMessage);
        const post = (message: ThreadMessage): void => slot.thread.postMessage(message);
        listeners?.onInput?.({
          write: (chunk) => post({ kind: "input", id, chunk }),
          signal: (name) => post({ kind: "signal", id, signal: name }),
          resize: (size) => post({ kind: "resize", id, size }),
        });
      });
    } finally {
      signal.removeEventListener("abort", abort);
      slot.pending.delete(id);
      if (slot.pending.size === 0 && !this.#closing) slot.thread.unref();
    }
  }

  /** Ends the threads; what they still do fails. */
  async close(): Promise<void> {
    this.#closing = true;
    const slots = [...this.#files, ...(this.#containers ? [this.#containers] : [])];
    await Promise.all(
      slots.map(({ thread }) => {
        thread.ref();
        return thread.terminate();
      }),
    );
  }

  #fileSlot(): Slot {
    const idle = this.#files.find((slot) => slot.pending.size === 0);
    if (idle) return idle;
    if (this.#files.length < this.#options.fileThreads) {
      const slot = this.#start(`f${this.#files.length}`);
      this.#files.push(slot);
      return slot;
    }
    return this.#files.reduce((best, slot) => (slot.pending.size < best.pending.size ? slot : best));
  }

  #start(name: string): Slot {
    const { stateRoot, own } = this.#options;
    const thread = new Thread(new URL("./tree-thread.js", import.meta.url), {
      workerData: { stateRoot, own, name },
    });
    const slot: Slot = { thread, pending: new Map() };
    thread.unref();
    thread.on("message", (reply: ThreadReply) => {
      const pending = slot.pending.get(reply.id);
      if (!pending) return;
      if (reply.kind === "output") pending.listeners?.onOutput(reply.stream, reply.chunk);
      else if (reply.kind === "started") pending.listeners?.onStarted?.();
      else if (reply.kind === "result") pending.resolve(reply.result as never);
      else pending.reject(new TaskError(reply.code, reply.message, reply.part, { cause: reply.stack }));
    });
    const fail = (failure: Error): void => {
      for (const pending of slot.pending.values()) pending.reject(failure);
    };
    thread.on("error", (error) => fail(explain(error)));
    thread.on("exit", () => fail(new BuildError("CANCELED", "the build's threads have ended")));
    return slot;
  }
}

function explain(error: Error): Error {
  if (!/unshare/.test(error.message)) return error;
  return new BuildError(
    "MOUNTS_FORBIDDEN",
    "building needs root, or user namespaces for an ordinary user; this process has neither " +
      "(run as root, or allow unprivileged user namespaces)",
    { cause: error },
  );
}
