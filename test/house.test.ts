// The house: imports go downwards only, and through doors. The list is the one drawn in docs/dev/README.md.
import { readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { describe, expect, it } from "vitest";

const SRC = resolve(import.meta.dirname, "../src");

/** Top to bottom: a room may import from rooms below it. */
const ROOMS = readFileSync(resolve(import.meta.dirname, "../docs/dev/README.md"), "utf8")
  .split("```house\n")[1]!
  .split("```")[0]!
  .split("\n")
  .map((line) => /^(\w+)\//.exec(line)?.[1])
  .filter((room) => room !== undefined);

function files(folder: string): string[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    return statSync(path).isDirectory() ? files(path) : path.endsWith(".ts") ? [path] : [];
  });
}

function imports(): { from: string; to: string }[] {
  return files(SRC).flatMap((file) =>
    [...readFileSync(file, "utf8").matchAll(/(?:from|import\()\s*"(\.[^"]+)"/g)].map((match) => ({
      from: relative(SRC, file),
      to: relative(SRC, resolve(dirname(file), match[1]!)),
    })),
  );
}

const roomOf = (path: string): string => path.split("/")[0]!;

describe("the house", () => {
  it("has a line in the drawing for every room", () => {
    const rooms = readdirSync(SRC).filter((name) => statSync(join(SRC, name)).isDirectory());
    expect([...ROOMS].sort()).toEqual(rooms.sort());
  });

  it("imports downwards only", () => {
    const upwards = imports().filter(({ from, to }) => {
      const [a, b] = [ROOMS.indexOf(roomOf(from)), ROOMS.indexOf(roomOf(to))];
      return a >= 0 && b >= 0 && a > b;
    });
    expect(upwards).toEqual([]);
  });

  it("enters a room through its door", () => {
    const intruders = imports().filter(
      ({ from, to }) => roomOf(from) !== roomOf(to) && to.includes("/") && !/^\w+\/index\.js$/.test(to),
    );
    expect(intruders).toEqual([]);
  });
});
