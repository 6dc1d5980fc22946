import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { bytePath } from "../linux/index.js";
import { copyTree, type CopyOptions } from "./copy.js";

let root: string;
let options: CopyOptions;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "bluekiln-copy-"));
  for (const name of ["from", "to"]) mkdirSync(join(root, name));
  options = {
    sourceRoot: bytePath(join(root, "from")),
    targetRoot: bytePath(join(root, "to")),
    owner: undefined,
    mode: undefined,
    time: undefined,
    contentsOnly: false,
    followLinks: true,
    includePatterns: [],
    excludePatterns: [],
    replaces: false,
  };
});
afterEach(() => rmSync(root, { recursive: true }));

describe("copying", () => {
  it("tells of what a link leads to if that is not there", () => {
    mkdirSync(join(root, "from/t"));
    symlinkSync("/t/gone", join(root, "from/d"));
    expect(() => copyTree(bytePath("/d"), bytePath("/x"), options)).toThrow(
      "lstat /t/gone: no such file or directory",
    );
  });

  it("of a whole tree goes into a folder that is there, and not over a file", () => {
    writeFileSync(join(root, "from/a"), "a");
    mkdirSync(join(root, "to/folder"));
    copyTree(bytePath("/"), bytePath("/folder"), options);
    expect(readdirSync(join(root, "to/folder"))).toEqual(["a"]);
    writeFileSync(join(root, "to/file"), "");
    expect(() => copyTree(bytePath("/"), bytePath("/file"), options)).toThrow(
      "cannot copy to non-directory: /file",
    );
  });
});
