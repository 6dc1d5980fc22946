// A folder of which a client sends what its entries are, and only some of them whole. Source: fsutil as dockerd 28.5 has it.
import { writeFileSync } from "node:fs";
import { PatternMatcher } from "../../lib/index.js";
import { fsPath, textOf, type BytePath } from "../../linux/index.js";
import { encodeStat, type Stat } from "./wire.js";

/** What every entry is, in the order it came in: its message, after its length in four bytes, lowest first. */
export const METADATA_FILE = ".fsutil-metadata";

export class MetadataFile {
  readonly #whole: PatternMatcher;
  readonly #parts: Buffer[] = [];

  /** @param except patterns of what is sent whole */
  constructor(except: readonly string[]) {
    this.#whole = new PatternMatcher(except);
  }

  add(stat: Stat): void {
    const message = encodeStat(stat);
    const length = Buffer.alloc(4);
    length.writeUInt32LE(message.length);
    this.#parts.push(length, message);
  }

  isWhole(path: BytePath): boolean {
    return this.#whole.matchesWithParents(textOf(path));
  }

  write(folder: BytePath): void {
    writeFileSync(fsPath(`${folder}/${METADATA_FILE}`), Buffer.concat(this.#parts), { mode: 0o644 });
  }
}
