import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { bytePath } from "../linux/index.js";
import { TreeChecksum } from "./checksum.js";
import { KeptDigests } from "./kept-digests.js";

const FILES = 300;
const EVERYTHING = {
  path: bytePath("/"),
  wildcard: false,
  followLinks: true,
  includePatterns: [],
  excludePatterns: [],
};

let root: string;
let folder: string;
let file: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "bluekiln-kept-"));
  folder = join(root, "folder");
  file = join(root, "digests", "1");
  mkdirSync(join(folder, "d"), { recursive: true });
  for (let i = 0; i < FILES; i++) writeFileSync(join(folder, "d", `ü${i}`), `${i}`);
});
afterEach(() => rmSync(root, { recursive: true }));

const fresh = (): string => new TreeChecksum(bytePath(folder), true).digest(EVERYTHING);
function kept(): string {
  const digests = new KeptDigests(file, join(root, "draft"));
  const digest = new TreeChecksum(bytePath(folder), true, digests).digest(EVERYTHING);
  digests.save();
  return digest;
}
/** Another file with the same name, size and time. */
function replace(name: string, content: string): void {
  const path = join(folder, "d", name);
  const { atime, mtime } = statSync(path);
  writeFileSync(`${path}.new`, content);
  utimesSync(`${path}.new`, atime, mtime);
  renameSync(`${path}.new`, path);
}

describe("digests that are kept", () => {
  it("are those of the files, and are not made again", () => {
    expect(kept()).toBe(fresh());
    const told = JSON.parse(readFileSync(file, "utf8")) as [string, [string, string]][];
    expect(told).toHaveLength(FILES);
    const digest = told[299]![1][1];
    const other = `sha256:${"0".repeat(64)}`;
    writeFileSync(file, readFileSync(file, "utf8").replace(digest, other));
    expect(kept()).not.toBe(fresh());
  });

  it("are not those of another file of the same size and time", () => {
    kept();
    replace("ü299", "abc");
    expect(kept()).toBe(fresh());
    replace("ü0", "Y");
    expect(kept()).toBe(fresh());
  });

  it.each(["", "[[1", "{}", '[["/d/ü299",[]]]', "\0\0"])("are made anew if %j is there", (content) => {
    mkdirSync(join(root, "digests"));
    writeFileSync(file, content);
    expect(kept()).toBe(fresh());
    expect(kept()).toBe(fresh());
  });

  it("of a few files are not worth it", () => {
    for (let i = 100; i < FILES; i++) rmSync(join(folder, "d", `ü${i}`));
    expect(kept()).toBe(fresh());
    expect(existsSync(file)).toBe(false);
  });
});
