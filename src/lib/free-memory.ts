// Memory of large buffers, given back at once. The collector sees only the few bytes that a buffer has on its heap: it
// leaves tens of megabytes of them in every thread.
import { MessageChannel } from "node:worker_threads";

/** Bytes from which on it is worth it. */
const LARGE = 64 << 10;

/** What is handed over to it is nobody's: its other end is closed. */
const { port1: nobody } = new MessageChannel();
nobody.close();

/** Nobody uses the buffer, or another on the same memory, any more: they are empty from now on. */
export function freeMemory({ buffer }: Uint8Array): void {
  // what small buffers share cannot be handed over
  const isOwn = buffer instanceof ArrayBuffer && buffer.byteLength > Buffer.poolSize;
  if (isOwn && buffer.byteLength >= LARGE) nobody.postMessage(undefined, [buffer]);
}
