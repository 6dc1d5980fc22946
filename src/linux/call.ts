// Functions of the C library, through koffi, called synchronously: for this room alone.
import { createRequire } from "node:module";
import { getSystemErrorName } from "node:util";
import { BuildError } from "../lib/index.js";
import { textOf, type BytePath } from "./types.js";

type Call = (...args: unknown[]) => number;

interface Koffi {
  load(name: string | null): { func(signature: string): Call };
  errno(): number;
}

const M_MMAP_THRESHOLD = -3;

let functions: Record<string, Call> | undefined;
let koffi: Koffi;

const SIGNATURES: Readonly<Record<string, string>> = {
  mount:
    "int mount(const void *source, const void *target, const char *type, unsigned long flags, const void *data)",
  umount2: "int umount2(const void *target, int flags)",
  unshare: "int unshare(int flags)",
  chdir: "int chdir(const void *path)",
  mknod: "int mknod(const void *path, unsigned int mode, unsigned long dev)",
  utimensat: "int utimensat(int dirfd, const void *path, const void *times, int flags)",
  lgetxattr: "int64_t lgetxattr(const void *path, const void *name, void *value, size_t size)",
  lsetxattr: "int lsetxattr(const void *path, const void *name, const void *value, size_t size, int flags)",
  llistxattr: "int64_t llistxattr(const void *path, void *list, size_t size)",
  close: "int close(int fd)",
  pipe2: "int pipe2(void *ends, int flags)",
  flock: "int flock(int fd, int operation)",
  geteuid: "unsigned int geteuid()",
  ioctl: "int ioctl(int fd, unsigned long request, void *argument)",
  tcgetattr: "int tcgetattr(int fd, void *termios)",
  tcsetattr: "int tcsetattr(int fd, int actions, const void *termios)",
  cfmakeraw: "void cfmakeraw(void *termios)",
};

export function libc(name: string): Call {
  if (!functions) {
    const require = createRequire(import.meta.url);
    koffi = require("koffi") as Koffi;
    const library = koffi.load(null);
    functions = Object.fromEntries(
      Object.entries(SIGNATURES).map(([key, text]) => [key, library.func(text)]),
    );
    returnLargeMemory(library);
  }
  return functions[name]!;
}

/** What is freed goes back to the system: between others, in the memory of a thread, it would stay for ever. */
function returnLargeMemory(library: ReturnType<Koffi["load"]>): void {
  try {
    library.func("int mallopt(int parameter, int value)")(M_MMAP_THRESHOLD, 512 << 10);
  } catch {
    // other libraries than glibc have no such thing, nor need it
  }
}

export function cString(text: BytePath): Buffer {
  return Buffer.from(`${text}\0`, "latin1");
}

/** @throws BuildError with the name of the error as `code` ("EPERM"), and what errors of node:fs have besides */
export function check(result: number, call: string, subject: BytePath): number {
  if (result >= 0) return result;
  const errno = -koffi.errno();
  const code = getSystemErrorName(errno);
  const path = textOf(subject);
  throw Object.assign(new BuildError(code, `${call} ${path}: ${code}`), { errno, syscall: call, path });
}
