// What the kernel knows of a socket.
import type { Socket } from "node:net";
import { libc } from "./call.js";

/** SIOCOUTQ of tcp(7). */
const SIOCOUTQ = 0x5411;

/** Bytes that were written and that the other side has not confirmed; `undefined` if the socket is not connected. */
export function unconfirmedBytes(socket: Socket): number | undefined {
  const { fd = -1 } = (socket as { _handle?: { fd?: number } | null })._handle ?? {};
  const count = Buffer.alloc(4);
  return fd >= 0 && libc("ioctl")(fd, SIOCOUTQ, count) === 0 ? count.readInt32LE() : undefined;
}
