// Digests of a layer's files that are kept beside it: the next layer of the same client's folder shares most files with
// it (they are links), and those need not be read again. What is not there, or cannot be read, is made anew.
import { mkdirSync, readFileSync, renameSync, writeFileSync, type BigIntStats } from "node:fs";
import { dirname } from "node:path";
import type { Digest } from "../lib/index.js";
import type { BytePath } from "../linux/index.js";

/** Files from which on it takes longer to read them than to keep this. */
const MANY = 256;

/** What tells that a file is the same one, and its digest. */
type Kept = readonly [identity: string, digest: Digest];

export class KeptDigests {
  readonly #file: string;
  readonly #draft: string;
  readonly #known = new Map<BytePath, Kept>();
  #asked = 0;
  #isChanged = false;

  /**
   * @param file where they are kept
   * @param draft where it is written before it has its name
   */
  constructor(file: string, draft: string) {
    this.#file = file;
    this.#draft = draft;
  }

  /** @param path below the layer's folder */
  find(path: BytePath, stat: BigIntStats): Digest | undefined {
    if (++this.#asked === MANY) this.#load();
    const kept = this.#known.get(path);
    return kept?.[0] === identityOf(stat) ? kept[1] : undefined;
  }

  add(path: BytePath, stat: BigIntStats, digest: Digest): void {
    this.#known.set(path, [identityOf(stat), digest]);
    this.#isChanged = true;
  }

  /** Once all is asked for; where that cannot be written there is nothing to find the next time. */
  save(): void {
    if (!this.#isChanged || this.#asked < MANY) return;
    try {
      mkdirSync(dirname(this.#file), { recursive: true });
      writeFileSync(this.#draft, JSON.stringify([...this.#known]));
      renameSync(this.#draft, this.#file);
    } catch {
      // a full disk is for those to tell who need it
    }
  }

  #load(): void {
    try {
      const kept = JSON.parse(readFileSync(this.#file, "utf8")) as [BytePath, Kept][];
      for (const [path, entry] of kept) if (!this.#known.has(path)) this.#known.set(path, entry);
    } catch {
      // nothing was kept, or half of it
    }
  }
}

function identityOf({ ino, size, mtimeNs, mode, uid, gid }: BigIntStats): string {
  return [ino, size, mtimeNs, mode, uid, gid].join();
}
