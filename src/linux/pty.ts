// Pseudo terminals: this process is the terminal, a process of ours sits in front of it.
import { closeSync, constants, openSync } from "node:fs";
import { libc } from "./call.js";

/** Requests of ioctl_tty(2). */
const TIOCGPTN = 0x80045430;
const TIOCSPTLCK = 0x40045431;
const TIOCSWINSZ = 0x5414;
/** Bytes that hold any struct termios. */
const TERMIOS = 256;

export interface Pty {
  /** what is written to it is typed, what is read from it is shown */
  readonly master: number;
  /** the side of the process */
  readonly slave: number;
}

/** In raw mode: what comes is passed on as it is. @throws the errors of node:fs */
export function openPty(): Pty {
  const flags = constants.O_RDWR | constants.O_NOCTTY;
  const master = openSync("/dev/ptmx", flags);
  try {
    const number = Buffer.alloc(4);
    libc("ioctl")(master, TIOCSPTLCK, number);
    libc("ioctl")(master, TIOCGPTN, number);
    const slave = openSync(`/dev/pts/${number.readUInt32LE()}`, flags);
    const termios = Buffer.alloc(TERMIOS);
    libc("tcgetattr")(slave, termios);
    libc("cfmakeraw")(termios);
    libc("tcsetattr")(slave, 0, termios);
    return { master, slave };
  } catch (error) {
    closeSync(master);
    throw error;
  }
}

export interface WindowSize {
  readonly rows: number;
  readonly columns: number;
}

/** Tells the process at the other side as well. @param fd of either side */
export function setWindowSize(fd: number, { rows, columns }: WindowSize): void {
  const size = Buffer.alloc(8);
  size.writeUInt16LE(rows, 0);
  size.writeUInt16LE(columns, 2);
  libc("ioctl")(fd, TIOCSWINSZ, size);
}
