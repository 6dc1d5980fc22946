// A process of the OCI runtime, and what goes to the one in the container while it runs.
import { spawn } from "node:child_process";
import { PassThrough, type Writable } from "node:stream";
import type { WindowSize } from "../linux/index.js";
import { openPipes } from "./pipes.js";
import type { Runtime } from "./runtime.js";
import { openTerminal } from "./terminal.js";

export interface RunOptions {
  /** unique on this machine */
  readonly id: string;
  /** a folder for the bundle and the runtime's state; removed afterwards */
  readonly folder: string;
  readonly signal: AbortSignal;
  readonly onOutput: (stream: 1 | 2, chunk: Buffer) => void;
  /** of a process that is interactive */
  readonly control?: ProcessControl | undefined;
  /** told when it runs, if it is interactive */
  readonly onStarted?: (() => void) | undefined;
}

/** What goes to a process: standard input, signals, the size of its terminal. It may come before the process runs. */
export class ProcessControl {
  readonly stdin = new PassThrough();
  readonly hasTerminal: boolean;
  readonly #early: string[] = [];
  #kill: ((signal: string) => void) | undefined;
  #size: WindowSize | undefined;
  #resize: ((size: WindowSize) => void) | undefined;

  constructor(hasTerminal: boolean) {
    this.hasTerminal = hasTerminal;
  }

  kill(signal: string): void {
    if (this.#kill) this.#kill(signal);
    else this.#early.push(signal);
  }

  resize(size: WindowSize): void {
    this.#size = size;
    this.#resize?.(size);
  }

  /** @param resize sets the size of the terminal, as long as there is one */
  set onResize(resize: ((size: WindowSize) => void) | undefined) {
    this.#resize = resize;
    if (this.#size) resize?.(this.#size);
  }

  /** @param stdin of the process @param kill sends a signal to it */
  attach(stdin: Writable, kill: (signal: string) => void): void {
    // who ends early does not read to the end
    stdin.on("error", () => undefined);
    this.stdin.pipe(stdin, { end: !this.hasTerminal });
    this.#kill = kill;
    for (const signal of this.#early.splice(0)) kill(signal);
  }
}

/** Milliseconds between two looks at whether it runs. */
const START_INTERVAL = 10;

export interface ProcessHandle {
  readonly end: () => void;
  readonly signal: (name: string) => void;
  /** `undefined` if it does not run (yet) */
  readonly pid: () => number | undefined;
}

/** @returns its exit code */
export async function runProcess(
  runtime: Runtime,
  args: readonly string[],
  { signal, onOutput, control, onStarted }: RunOptions,
  handle: ProcessHandle,
): Promise<number> {
  const terminal = control?.hasTerminal ? openTerminal((chunk) => onOutput(1, chunk)) : undefined;
  const streams = terminal ?? openPipes(control !== undefined, onOutput);
  const command = [...(terminal ? ["setsid", "--ctty"] : []), runtime.command, ...args];
  const child = spawn(command[0]!, command.slice(1), { stdio: [...streams.stdio] });
  streams.passOn();
  control?.attach(streams.stdin!, handle.signal);
  const watch = onStarted && setInterval(() => started(handle.pid()), START_INTERVAL);
  const started = (pid: number | undefined): void => {
    if (pid === undefined || (terminal && !terminal.isInside(pid))) return;
    clearInterval(watch);
    if (terminal) control!.onResize = (size) => terminal.resize(pid, size);
    onStarted?.();
  };
  const end = (): void => {
    handle.end();
    child.kill("SIGKILL");
  };
  signal.addEventListener("abort", end, { once: true });
  try {
    const code = await new Promise<number>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (exit, by) => resolve(exit ?? (by === "SIGKILL" ? 137 : 1)));
    });
    await streams.ended;
    signal.throwIfAborted();
    return code;
  } finally {
    if (control) control.onResize = undefined;
    streams.close();
    clearInterval(watch);
    signal.removeEventListener("abort", end);
  }
}
