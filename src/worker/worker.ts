// The threads of one engine: one for containers (they run side by side in it, each a process of its own) and a few for
// work on files. They start when they are first needed, don't keep the process alive, and end when there has been
// nothing to do for a while: what they hold in memory is only given back then.
import { Worker as Thread } from "node:worker_threads";
import { BuildError } from "../lib/index.js";
import type { ThreadMessage, ThreadReply } from "./protocol.js";
import type { WindowSize } from "../linux/index.js";
import { TaskError } from "./task-error.js";
import type { TaskMap, TaskName, Tree } from "./types.js";

export interface WorkerOptions {
  readonly stateRoot: string;
  /** this process's own folder below it */
  readonly own: string;
  /** threads for work on files */
  readonly fileThreads: number;
  /** milliseconds; `undefined`: the usual time */
  readonly idleTimeout?: number;
}

/** Milliseconds after which a thread that has nothing to do ends. */
const IDLE = 30_000;

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

/** @param root where this process sees what a thread has mounted */
type ShownListener = (root: string) => void;

interface TaskListeners extends Partial<ProcessListeners> {
  readonly onShown?: ShownListener;
}

interface Pending {
  readonly resolve: (result: never) => void;
  readonly reject: (error: Error) => void;
  readonly listeners: TaskListeners | undefined;
}

interface Slot {
  readonly name: string;
  readonly thread: Thread;
  readonly pending: Map<number, Pending>;
  /** while there is nothing to do */
  idle?: NodeJS.Timeout | undefined;
}

export class Worker {
  readonly #options: WorkerOptions;
  /** by name */
  readonly #slots = new Map<string, Slot>();
  #nextId = 0;
  /** from then on the threads keep the process alive until they have ended */
  #closing = false;

  constructor(options: WorkerOptions) {
    this.#options = options;
  }

  /** How much work on files makes sense at once. */
  get fileThreads(): number {
    return this.#options.fileThreads;
  }

  /** Starts a thread for files, if there is none: it is ready by the time that a build has read what it is asked to do. */
  prepare(): void {
    if (!this.#slots.has("f0")) this.#rest(this.#slot("f0"));
  }

  async perform<K extends TaskName>(
    task: K,
    params: TaskMap[K]["params"],
    signal: AbortSignal,
    listeners?: TaskListeners,
  ): Promise<TaskMap[K]["result"]> {
    signal.throwIfAborted();
    const isContainer = task === "run" || task === "exec" || task === "probe";
    const slot = isContainer ? this.#slot("c") : this.#fileSlot();
    clearTimeout(slot.idle);
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
      if (slot.pending.size === 0 && !this.#closing) this.#rest(slot);
    }
  }

  /** Shows a tree to `use`, by a path that leads to a thread's mounts; it must not be written to. */
  async show<T>(tree: Tree, use: (root: string) => Promise<T>, signal: AbortSignal): Promise<T> {
    const done = new AbortController();
    const during = AbortSignal.any([signal, done.signal]);
    let showing: Promise<void> | undefined;
    try {
      const root = await new Promise<string>((onShown, reject) => {
        showing = this.perform("show", { tree }, during, { onShown });
        showing.catch(reject);
      });
      return await use(root);
    } finally {
      done.abort();
      await showing;
    }
  }

  /** Ends the threads; what they still do is aborted. */
  async close(): Promise<void> {
    this.#closing = true;
    await Promise.all(
      [...this.#slots.values()].map(({ thread }) => {
        const ended = new Promise((resolve) => thread.once("exit", resolve));
        thread.ref();
        end(thread);
        return ended;
      }),
    );
  }

  #fileSlot(): Slot {
    const names = Array.from({ length: this.#options.fileThreads }, (_, i) => `f${i}`);
    const tasks = (name: string): number => this.#slots.get(name)?.pending.size ?? 0;
    const isIdle = (name: string): boolean => this.#slots.has(name) && tasks(name) === 0;
    // one that is there, or a new one; else the one with the least to do
    const least = names.reduce((best, name) => (tasks(name) < tasks(best) ? name : best));
    return this.#slot(names.find(isIdle) ?? least);
  }

  #slot(name: string): Slot {
    const slot = this.#slots.get(name) ?? this.#start(name);
    this.#slots.set(name, slot);
    return slot;
  }

  #rest(slot: Slot): void {
    slot.thread.unref();
    slot.idle = setTimeout(() => {
      this.#forget(slot);
      end(slot.thread);
    }, this.#options.idleTimeout ?? IDLE).unref();
  }

  #forget(slot: Slot): void {
    clearTimeout(slot.idle);
    if (this.#slots.get(slot.name) === slot) this.#slots.delete(slot.name);
  }

  #start(name: string): Slot {
    const { stateRoot, own } = this.#options;
    const thread = new Thread(new URL("./tree-thread.js", import.meta.url), {
      workerData: { stateRoot, own, name },
    });
    const slot: Slot = { name, thread, pending: new Map() };
    thread.unref();
    thread.on("message", (reply: ThreadReply) => {
      const pending = slot.pending.get(reply.id);
      if (!pending) return;
      if (reply.kind === "output") pending.listeners?.onOutput?.(reply.stream, reply.chunk);
      else if (reply.kind === "shown") pending.listeners?.onShown?.(reply.root);
      else if (reply.kind === "started") pending.listeners?.onStarted?.();
      else if (reply.kind === "result") pending.resolve(reply.result as never);
      else pending.reject(new TaskError(reply.code, reply.message, reply.part, { cause: reply.stack }));
    });
    const fail = (failure: Error): void => {
      this.#forget(slot);
      for (const pending of slot.pending.values()) pending.reject(failure);
    };
    thread.on("error", (error) => fail(explain(error)));
    thread.on("exit", () => fail(new BuildError("CANCELED", "the build's threads have ended")));
    return slot;
  }
}

/** By itself: Node ends the whole process where it stops a thread amid a call of the C library. */
function end(thread: Thread): void {
  thread.postMessage({ kind: "end" } satisfies ThreadMessage);
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
