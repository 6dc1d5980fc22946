// System calls that Node does not offer. Only ever used in worker threads and for single calls at start; nothing here
// knows what it is used for.
import { check, cString, libc } from "./call.js";
import type { BytePath, Times } from "./types.js";

const LOCK_SH = 1;
const LOCK_EX = 2;
const LOCK_NB = 4;

export const MS_RDONLY = 1;
export const MS_NOSUID = 2;
export const MS_NODEV = 4;
export const MS_NOEXEC = 8;
export const MS_REMOUNT = 32;
export const MS_BIND = 4096;
export const MS_REC = 16384;
export const MS_PRIVATE = 1 << 18;
export const MNT_DETACH = 2;
export const CLONE_NEWNS = 0x20000;

export function mount(source: BytePath, target: BytePath, type: string, flags: number, data = ""): void {
  check(
    libc("mount")(cString(source), cString(target), type, flags, cString(data)),
    "mount",
    `${type} on ${target}`,
  );
}

export function unmount(target: BytePath): void {
  check(libc("umount2")(cString(target), MNT_DETACH), "umount", target);
}

/** Gives the calling thread a mount namespace (and a working directory) of its own, from which nothing spreads. */
export function privateMounts(): void {
  check(libc("unshare")(CLONE_NEWNS), "unshare", "mount namespace");
  mount("none", "/", "", MS_REC | MS_PRIVATE);
}

/** Of the calling thread alone, once it has called `privateMounts`. */
export function changeDirectory(path: BytePath): void {
  check(libc("chdir")(cString(path)), "chdir", path);
}

/** `mode` includes the type (S_IFCHR, ...). */
export function makeNode(path: BytePath, mode: number, major: number, minor: number): void {
  const dev =
    (BigInt(major & ~0xfff) << 32n) |
    (BigInt(major & 0xfff) << 8n) |
    (BigInt(minor & ~0xff) << 12n) |
    BigInt(minor & 0xff);
  check(libc("mknod")(cString(path), mode, Number(dev)), "mknod", path);
}

export function deviceNumbers(rdev: number | bigint): { major: number; minor: number } {
  const dev = BigInt(rdev);
  return {
    major: Number(((dev >> 8n) & 0xfffn) | ((dev >> 32n) & 0xfffff000n)),
    minor: Number((dev & 0xffn) | ((dev >> 12n) & 0xffffff00n)),
  };
}

/** Sets times to the nanosecond; does not follow symbolic links. */
export function setTimes(path: BytePath, { atime, mtime }: Times): void {
  const times = Buffer.alloc(32);
  const write = (offset: number, value: bigint): void => {
    let seconds = value / 1_000_000_000n;
    let rest = value % 1_000_000_000n;
    if (rest < 0n) {
      seconds -= 1n;
      rest += 1_000_000_000n;
    }
    times.writeBigInt64LE(seconds, offset);
    times.writeBigInt64LE(rest, offset + 8);
  };
  write(0, atime);
  write(16, mtime);
  check(libc("utimensat")(-100, cString(path), times, 0x100), "utimensat", path);
}

/** For what a call answers, until the next one: as much as the kernel has for names or a value. */
const ROOM = Buffer.allocUnsafeSlow(64 << 10);

/** `undefined` if there is no such attribute. */
export function getXattr(path: BytePath, name: string): Buffer | undefined {
  const size = libc("lgetxattr")(cString(path), cString(name), ROOM, ROOM.length);
  return size < 0 ? undefined : Buffer.from(ROOM.subarray(0, size));
}

export function setXattr(path: BytePath, name: string, value: Uint8Array): void {
  check(
    libc("lsetxattr")(cString(path), cString(name), value, value.length, 0),
    "setxattr",
    `${name} on ${path}`,
  );
}

export function listXattrs(path: BytePath): string[] {
  const size = libc("llistxattr")(cString(path), ROOM, ROOM.length);
  if (size <= 0) return [];
  return ROOM.subarray(0, size)
    .toString("latin1")
    .split("\0")
    .filter((name) => name !== "");
}

/**
 * Takes a lock on an open file; `false` if somebody else has one that excludes it. The kernel frees it with the process.
 * @param shared others may have it too, as long as they share
 */
export function tryLock(fd: number, shared = false): boolean {
  return libc("flock")(fd, (shared ? LOCK_SH : LOCK_EX) | LOCK_NB) >= 0;
}
