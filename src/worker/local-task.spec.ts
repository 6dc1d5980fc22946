import {
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FolderListing } from "../layer/index.js";
import { runLocalTask } from "./local-task.js";
import type { LocalResult } from "./types.js";

let root: string;
let folder: string;
let count = 0;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "bluekiln-local-"));
  folder = join(root, "folder");
  mkdirSync(join(folder, "d"), { recursive: true });
  writeFileSync(join(folder, "d/a"), "aaaaa");
  linkSync(join(folder, "d/a"), join(folder, "d/b"));
  symlinkSync("a", join(folder, "d/l"));
  writeFileSync(join(folder, "é"), "content");
});
afterEach(() => rmSync(root, { recursive: true }));

/** @param takenAt when `before` was, which is in time if nothing is said */
function take(before?: string, takenAt = Date.now() + 1000): LocalResult & { target: string } {
  const target = join(root, `target-${++count}`);
  mkdirSync(target);
  const patterns = { followPaths: [], includePatterns: [], excludePatterns: [] };
  const previous =
    before === undefined
      ? undefined
      : { folder: before, listing: FolderListing.read(`${before}.list`), takenAt };
  const listing = `${target}.list`;
  return { ...runLocalTask({ folder, target, listing, ...patterns }, target, previous), target };
}
const names = (path: string): string[] => readdirSync(path, { recursive: true }).map(String).sort();

describe("a folder of this process", () => {
  it("is copied, and not again if nothing has changed", () => {
    const first = take();
    expect([first.isSame, first.bytes]).toEqual([false, 12]);
    expect(names(first.target)).toEqual(["d", "d/a", "d/b", "d/l", "é"]);
    const again = take(first.target);
    expect([again.isSame, again.bytes]).toEqual([true, 0]);
    expect(names(again.target)).toEqual([]);
  });

  it("is copied where it has changed; what has not is the same file", () => {
    const { target: before } = take();
    writeFileSync(join(folder, "é"), "other content");
    const { isSame, bytes, target } = take(before);
    expect([isSame, bytes]).toEqual([false, 13]);
    expect(names(target)).toEqual(["d", "d/a", "d/b", "d/l", "é"]);
    expect(readFileSync(join(target, "é"), "utf8")).toBe("other content");
    expect(readFileSync(join(before, "é"), "utf8")).toBe("content");
    const [a, b, old] = [join(target, "d/a"), join(target, "d/b"), join(before, "d/a")].map(
      (path) => statSync(path).ino,
    );
    expect([b, old]).toEqual([a, a]);
  });

  it("is copied if nobody knows what it was", () => {
    const { target: before } = take();
    writeFileSync(`${before}.list`, "é\0file 420");
    expect(take(before)).toMatchObject({ isSame: false, bytes: 12 });
    rmSync(`${before}.list`);
    expect(take(before)).toMatchObject({ isSame: false, bytes: 12 });
    expect(take(take().target).isSame).toBe(true);
  });

  it("is copied if a file may be another one, though its size and time are the same", () => {
    utimesSync(join(folder, "é"), 1000, 1000);
    const { target: before } = take();
    writeFileSync(join(folder, "é"), "CONTENT");
    utimesSync(join(folder, "é"), 1000, 1000);
    const { isSame, target } = take(before, Date.now() - 10);
    expect(isSame).toBe(false);
    expect(readFileSync(join(target, "é"), "utf8")).toBe("CONTENT");
  });

  it.each<[string, () => void]>([
    ["a file is gone", () => rmSync(join(folder, "d/b"))],
    ["a folder is new", () => mkdirSync(join(folder, "new"))],
    ["a time is another", () => utimesSync(join(folder, "é"), 1, 1)],
    ["a folder's time is another", () => utimesSync(join(folder, "d"), 1, 1)],
  ])("is copied if %s", (_title, change) => {
    const { target: before } = take();
    change();
    const { isSame, target } = take(before);
    expect(isSame).toBe(false);
    expect(names(target)).toEqual(names(folder));
    for (const name of names(folder))
      expect(statSync(join(target, name)).mtimeMs).toBe(statSync(join(folder, name)).mtimeMs);
  });
});
