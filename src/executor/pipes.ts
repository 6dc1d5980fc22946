// Standard input and outputs of a process that sits in front of no terminal.
import { Socket } from "node:net";
import type { Writable } from "node:stream";
import { closeEnd, openPipe } from "../linux/index.js";

/** Where a process reads from and writes to. */
export interface ProcessStreams {
  /** of the process */
  readonly stdio: readonly ["ignore" | number, number, number];
  /** what is written to it, the process reads */
  readonly stdin: Writable | undefined;
  /** everything that the process has written has been read */
  readonly ended: Promise<unknown>;
  /** The process has its side now. */
  passOn(): void;
  close(): void;
}

export function openPipes(
  hasInput: boolean,
  onOutput: (stream: 1 | 2, chunk: Buffer) => void,
): ProcessStreams {
  const [output, errors] = [openPipe(), openPipe()];
  const input = hasInput ? openPipe() : undefined;
  const reader = (fd: number, stream: 1 | 2): Socket =>
    new Socket({ fd, readable: true, writable: false }).on("data", (chunk) => onOutput(stream, chunk));
  const readers = [reader(output.readEnd, 1), reader(errors.readEnd, 2)];
  const stdin = input && new Socket({ fd: input.writeEnd, readable: false, writable: true });
  const theirs = [input?.readEnd, output.writeEnd, errors.writeEnd].filter((fd) => fd !== undefined);
  return {
    stdio: [input?.readEnd ?? "ignore", output.writeEnd, errors.writeEnd],
    stdin,
    ended: Promise.all(
      readers.map((socket) => new Promise<void>((resolve) => socket.on("close", () => resolve()))),
    ),
    passOn: () => theirs.splice(0).forEach((fd) => closeEnd(fd)),
    close: () => [...readers, ...(stdin ? [stdin] : [])].forEach((socket) => socket.destroy()),
  };
}
