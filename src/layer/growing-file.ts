// A file that somebody else writes while it is read: its bytes as they come. It is complete once it has its last name.
// Read in threads that do nothing else: waiting for the disk there costs less than having others wait for it.
import { closeSync, existsSync, openSync, readSync } from "node:fs";
import { setImmediate, setTimeout } from "node:timers/promises";
import type { GrowingFile } from "../content/index.js";
import { codeOf } from "../lib/index.js";

/** Bytes that are read between two looks at whether somebody cancels it. */
const LOOK = 1 << 20;
/** milliseconds between looks at a file that has not grown */
const PAUSE = 3;

/**
 * The bytes of a file, each chunk in the place of the one before.
 * @param complete its name, from the time on that it is complete
 * @param growing what is known of it before
 * @param size bytes of a chunk at most
 * @throws the signal's reason: the only way out if the writer gives up
 */
export async function* growingFile(
  complete: string,
  growing: GrowingFile | undefined,
  size: number,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  const unfinished = growing && openMaybe(growing.file);
  const file = unfinished ?? openSync(complete, "r");
  const arrived = unfinished !== undefined && growing && new BigUint64Array(growing.arrived);
  const left = (at: number): number => (arrived ? Number(Atomics.load(arrived, 0)) - at : size);
  const room = Buffer.allocUnsafeSlow(size);
  try {
    for (let at = 0, looked = 0; ;) {
      signal.throwIfAborted();
      if (left(at) === 0) {
        // everything has arrived before the file has its last name
        if (existsSync(complete) && left(at) === 0) return;
        await setTimeout(PAUSE);
        continue;
      }
      const count = readSync(file, room, 0, Math.min(size, left(at)), at);
      if (count === 0) return;
      at += count;
      yield room.subarray(0, count);
      if (at - looked < LOOK) continue;
      looked = at;
      await setImmediate();
    }
  } finally {
    closeSync(file);
  }
}

function openMaybe(file: string): number | undefined {
  try {
    return openSync(file, "r");
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw error;
    return undefined;
  }
}
