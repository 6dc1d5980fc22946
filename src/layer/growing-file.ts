// A file that somebody else writes while it is read: its bytes as they come. It is complete once it has its last name.
// Read in threads that do nothing else: waiting for the disk there costs less than having others wait for it.
import { closeSync, existsSync, openSync, readSync } from "node:fs";
import { setImmediate, setTimeout } from "node:timers/promises";
import type { GrowingFile } from "../content/index.js";
import { codeOf } from "../lib/index.js";

const CHUNK = 1 << 20;
/** milliseconds between looks at a file that has not grown */
const PAUSE = 3;

/**
 * The bytes of a file.
 * @param complete its name, from the time on that it is complete
 * @param growing what is known of it before
 * @throws the signal's reason: the only way out if the writer gives up
 */
export async function* growingFile(
  complete: string,
  growing: GrowingFile | undefined,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  const unfinished = growing && openMaybe(growing.file);
  const file = unfinished ?? openSync(complete, "r");
  const arrived = unfinished !== undefined && growing && new BigUint64Array(growing.arrived);
  const left = (at: number): number => (arrived ? Number(Atomics.load(arrived, 0)) - at : CHUNK);
  try {
    for (let at = 0; ;) {
      signal.throwIfAborted();
      if (left(at) === 0) {
        // everything has arrived before the file has its last name
        if (existsSync(complete) && left(at) === 0) return;
        await setTimeout(PAUSE);
        continue;
      }
      const chunk = Buffer.allocUnsafeSlow(Math.min(CHUNK, left(at)));
      const count = readSync(file, chunk, 0, chunk.length, at);
      if (count === 0) return;
      at += count;
      yield chunk.subarray(0, count);
      // whoever cancels this is heard
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
