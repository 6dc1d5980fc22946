// A transfer that goes on where it broke, as long as it gets on.
import type { Descriptor } from "./types.js";

/** A transfer that breaks this often without this many bytes in between is given up. */
const TRIES = 5;
const HEADWAY = 1 << 20;

/**
 * The bytes of a blob.
 * @param open the bytes from `offset` on; `undefined` if the place can't begin there
 */
export async function* resumable(
  { digest, size }: Descriptor,
  open: (offset: number) => Promise<AsyncIterable<Uint8Array> | undefined>,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  let received = 0;
  for (let tries = 1, last = 0; ; tries++) {
    if (received - last >= HEADWAY) tries = 1;
    last = received;
    const stream = await open(received);
    if (!stream) throw new Error(`transfer of ${digest} broke after ${received} bytes and cannot be resumed`);
    try {
      for await (const chunk of stream) {
        received += chunk.length;
        yield chunk;
      }
      if (received >= size) return;
      throw new Error(`transfer of ${digest} ended after ${received} of ${size} bytes`);
    } catch (error) {
      if (signal.aborted || tries >= TRIES) throw error;
      if (received >= size) return;
    }
  }
}
