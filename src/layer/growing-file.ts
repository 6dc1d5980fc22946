// A file that somebody else writes while it is read: its bytes as they come. It is complete once it has its last name.
import { existsSync } from "node:fs";
import { open, type FileHandle } from "node:fs/promises";
import { setTimeout } from "node:timers/promises";
import { codeOf } from "../lib/index.js";

const CHUNK = 1 << 20;
/** milliseconds between looks at a file that has not grown */
const PAUSE = 3;

/**
 * @param growing its name while it is written
 * @param complete its name from then on
 * @throws the signal's reason: the only way out if the writer gives up
 */
export async function* growingFile(
  growing: string,
  complete: string,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  const file = await openEither(growing, complete);
  try {
    for (let at = 0; ;) {
      signal.throwIfAborted();
      // asked first: what is written before the file is complete is read after
      const isComplete = existsSync(complete);
      const buffer = Buffer.allocUnsafeSlow(CHUNK);
      const { bytesRead } = await file.read(buffer, 0, CHUNK, at);
      at += bytesRead;
      if (bytesRead > 0) yield buffer.subarray(0, bytesRead);
      else if (isComplete) return;
      else await setTimeout(PAUSE);
    }
  } finally {
    await file.close();
  }
}

async function openEither(growing: string, complete: string): Promise<FileHandle> {
  try {
    return await open(growing);
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw error;
    return open(complete);
  }
}
