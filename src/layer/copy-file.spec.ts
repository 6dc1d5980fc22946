import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { randomBytes } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { copyFile } from "./copy-file.js";

const root = mkdtempSync(join(tmpdir(), "bluekiln-copy-"));
afterAll(() => rmSync(root, { recursive: true }));

it.each([0, 1, 3000, 128 << 10, (128 << 10) + 1, 5 << 20])("copies %d bytes", (size) => {
  const [from, to] = [join(root, `from-${size}`), join(root, `to-${size}`)];
  const data = randomBytes(size);
  writeFileSync(from, data);
  copyFile(from, to, BigInt(size));
  expect(readFileSync(to).equals(data)).toBe(true);
});

it("copies all of a file that has grown meanwhile", () => {
  const [from, to] = [join(root, "grown"), join(root, "copy-of-grown")];
  writeFileSync(from, Buffer.alloc(1 << 20, "x"));
  copyFile(from, to, 10n);
  expect(statSync(to).size).toBe(1 << 20);
});

it("does not write through what is there already", () => {
  const [from, to] = [join(root, "source"), join(root, "there")];
  writeFileSync(from, "new");
  writeFileSync(to, "old");
  expect(() => copyFile(from, to, 3n)).toThrow(/EEXIST/);
});
