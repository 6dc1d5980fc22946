// The terminal of a process in a container. We are the terminal outside, the runtime sits in front of it, and the process in
// front of one inside that the runtime makes and passes on.
import { closeSync, constants, fstatSync, openSync, type Stats } from "node:fs";
import { ReadStream } from "node:tty";
import { openPty, setWindowSize, type WindowSize } from "../linux/index.js";
import type { ProcessStreams } from "./pipes.js";

/** The runtime sits in front of it, and the container in front of one that the runtime makes. */
export interface Terminal extends ProcessStreams {
  /** whether a process of the container is in front of its own terminal yet */
  isInside(pid: number): boolean;
  resize(pid: number, size: WindowSize): void;
}

/** @param onOutput told of what is shown */
export function openTerminal(onOutput: (chunk: Buffer) => void): Terminal {
  const { master, slave } = openPty();
  const outside = fstatSync(slave);
  const stream = new ReadStream(master);
  stream.on("data", (chunk: Buffer) => onOutput(chunk));
  const ended = new Promise<void>((resolve) => {
    // that nobody has the other side any more is an error here
    stream.on("error", () => resolve()).on("close", () => resolve());
  });
  return {
    stdio: [slave, slave, slave],
    stdin: stream,
    isInside: (pid) => withInside(pid, outside, () => undefined),
    resize: (pid, size) => void withInside(pid, outside, (fd) => setWindowSize(fd, size)),
    ended,
    passOn: () => closeSync(slave),
    close: () => void stream.destroy(),
  };
}

/**
 * Opens the terminal inside: crun does not pass on the size of the one outside.
 * @returns `false` while the process is not in front of it yet, and when it reads from somewhere else
 */
function withInside(pid: number, outside: Stats, use: (fd: number) => void): boolean {
  let fd: number | undefined;
  try {
    fd = openSync(`/proc/${pid}/fd/0`, constants.O_RDWR | constants.O_NOCTTY);
    const { dev, ino } = fstatSync(fd);
    if (dev === outside.dev && ino === outside.ino) return false;
    use(fd);
    return true;
  } catch {
    // it has ended
    return false;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}
