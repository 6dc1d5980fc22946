// The command as a plugin of docker's: called by its own name, asked what it is.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { bluekiln, makeContext } from "../support/services.js";

const work = mkdtempSync(join(tmpdir(), "bluekiln-plugin-"));
afterAll(() => rmSync(work, { recursive: true, force: true }));

it("says what it is", () => {
  const metadata = JSON.parse(bluekiln(["docker-cli-plugin-metadata"]).stdout) as Record<string, string>;
  expect(metadata).toMatchObject({ SchemaVersion: "0.1.0", Vendor: "Bluekiln" });
  expect(metadata["Version"]).toBe(/bluekiln (\S+)/.exec(bluekiln(["version"]).stdout)![1]);
});

it.each(["bluekiln", "buildx"])("builds as docker %s build", (name) => {
  const folder = makeContext(work, { Dockerfile: "FROM scratch\nCOPY f /\n", f: name });
  const out = mkdtempSync(join(work, "out-"));
  const { status, stderr } = bluekiln([
    name,
    "build",
    "--state-dir",
    join(work, "state"),
    "--output",
    out,
    folder,
  ]);
  expect(`${status} ${stderr}`).toMatch(/^0 /);
  expect(readFileSync(join(out, "f"), "utf8")).toBe(name);
});
