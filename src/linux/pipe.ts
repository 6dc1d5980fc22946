// Anonymous pipes. What Node gives a process as a "pipe" is a socket, which nobody can open by /dev/stdout.
import { check, libc } from "./call.js";

const O_CLOEXEC = 0o2000000;

export interface Pipe {
  readonly readEnd: number;
  readonly writeEnd: number;
}

/** Of an end that nobody else closes: Node warns of what it has not opened itself. */
export function closeEnd(fd: number): void {
  libc("close")(fd);
}

/** Only a process that is given one of its ends has it. @throws BuildError with the name of the error as `code` */
export function openPipe(): Pipe {
  const ends = Buffer.alloc(8);
  check(libc("pipe2")(ends, O_CLOEXEC), "pipe2", "for a process");
  return { readEnd: ends.readInt32LE(0), writeEnd: ends.readInt32LE(4) };
}
