// The content of a file into a new one.
import { closeSync, copyFileSync, openSync, readSync, writeSync } from "node:fs";
import { fsPath, type BytePath } from "../linux/index.js";

/** Up to this size reading and writing takes a third of the time that a copy within the kernel takes. */
const SMALL = 128 << 10;

const BUFFER = Buffer.allocUnsafeSlow(SMALL + 1);

/**
 * @param to nothing is there; its mode is the caller's business
 * @param size of the file, as it was
 */
export function copyFile(from: BytePath, to: BytePath, size: bigint): void {
  if (size > SMALL || !copySmall(from, to)) copyFileSync(fsPath(from), fsPath(to));
}

/** @returns false if the file is not small any more */
function copySmall(from: BytePath, to: BytePath): boolean {
  const source = openSync(fsPath(from), "r");
  try {
    const size = readFully(source);
    if (size > SMALL) return false;
    const target = openSync(fsPath(to), "wx", 0o600);
    try {
      for (let at = 0; at < size;) at += writeSync(target, BUFFER, at, size - at);
    } finally {
      closeSync(target);
    }
    return true;
  } finally {
    closeSync(source);
  }
}

/** @returns how many bytes there are, as far as they fit */
function readFully(fd: number): number {
  let size = 0;
  for (;;) {
    const count = readSync(fd, BUFFER, size, BUFFER.length - size, null);
    const isLast = count < BUFFER.length - size;
    size += count;
    if (isLast || size === BUFFER.length) return size;
  }
}
