// Bad input: each a clear message, exit code 1, no stack trace, no key.
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmodSync, mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bluekiln, makeContext, startServices, type Services } from "../support/services.js";

let services: Services;
let context: string;
beforeAll(async () => {
  services = await startServices();
  context = makeContext(services.work, { Dockerfile: "FROM scratch\nCOPY f /\n", f: "1" });
});
afterAll(() => services.stop());

const SECRET = "c2VjcmV0c2VjcmV0c2VjcmV0";
const URL_ = "account_url=http://127.0.0.1:9/devstoreaccount1";

describe("a destination", () => {
  it.each([
    ["a folder for a file", "type=oci,dest=FOLDER", "ERROR: destination file FOLDER is a directory\n"],
    ["a folder for a tar file", "type=tar,dest=FOLDER", "ERROR: destination file FOLDER is a directory\n"],
    ["a file for a folder", "type=local,dest=FOLDER/f", "ERROR: destination directory FOLDER/f is a file\n"],
    [
      "a file for the folder of a layout",
      "type=oci,tar=false,dest=FOLDER/f",
      "ERROR: destination directory FOLDER/f is a file\n",
    ],
    [
      "below a file",
      "type=docker,dest=FOLDER/f/x",
      "ERROR: invalid destination file: FOLDER/f/x: stat FOLDER/f/x: not a directory\n",
    ],
  ])("is not %s", (_, output, message) => {
    const { status, stderr } = bluekiln(["build", "--output", output.replace("FOLDER", context), context]);
    expect({ status, stderr }).toEqual({ status: 1, stderr: message.replaceAll("FOLDER", context) });
  });

  it.each(["oci", "docker", "tar"])("that is full is named: %s", (type) => {
    const state = mkdtempSync(join(services.work, "state-"));
    const { status, stderr } = bluekiln([
      "build",
      "--state-dir",
      state,
      "--output",
      `type=${type},dest=/dev/full`,
      context,
    ]);
    expect(status).toBe(1);
    expect(stderr).toMatch(/failed to solve: write \/dev\/full: no space left on device\n$/);
  });

  it("where nothing can be made is an error", () => {
    const state = mkdtempSync(join(services.work, "state-"));
    const output = "type=oci,dest=/proc/archive.tar";
    const { status, stderr } = bluekiln(["build", "--state-dir", state, "--output", output, context]);
    expect(status).toBe(1);
    expect(stderr).toContain("failed to solve: ENOENT: no such file or directory, open '/proc/archive.tar'");
  });
});

describe("an archive that is damaged", () => {
  const pack = (...options: string[]): Buffer => {
    const tar = ["tar", "-c", "-C", context, "noise"];
    const command = [...tar.slice(0, 2), ...options, ...tar.slice(2)];
    return execFileSync(command[0]!, command.slice(1), { maxBuffer: 1 << 24 });
  };
  beforeAll(() => writeFileSync(join(context, "noise"), randomBytes(300_000)));

  it.each([
    ["cut", (): Buffer => pack().subarray(0, 200_000), "archive/tar: unexpected EOF"],
    ["cut, gzip", (): Buffer => pack("-z").subarray(0, 200_000), "unexpected end of file"],
    [
      "corrupt, xz",
      (): Buffer => {
        const data = pack("-I", "xz --block-size=16KiB");
        data[200_000]! ^= 0xff;
        return data;
      },
      "exit status 1: xz: (stdin): Compressed data is corrupt",
    ],
  ])("is not unpacked in part: %s", (_, make, message) => {
    const folder = makeContext(services.work, { Dockerfile: "FROM scratch\nADD archive /\n" });
    writeFileSync(join(folder, "archive"), make());
    const state = mkdtempSync(join(services.work, "state-"));
    const { status, stderr } = bluekiln(["build", "--state-dir", state, folder]);
    expect(status).toBe(1);
    expect(stderr.trimEnd().split("\n").pop()).toBe(`ERROR: failed to build: failed to solve: ${message}`);
  });
});

describe("flags", () => {
  it.each([
    ["an unknown flag", ["--cache"], "unknown flag: --cache"],
    ["a flag without its value", ["--tag"], "flag needs an argument: --tag"],
    ["an unknown progress mode", ["--progress", "fancy", "CONTEXT"], "invalid progress mode fancy"],
    ["no context", [], "requires 1 argument"],
    ["a tag that is no reference", ["-t", "UPPER/Case", "CONTEXT"], 'invalid tag "UPPER/Case"'],
    ["a push without a tag", ["--push", "CONTEXT"], "tag is needed when pushing to registry"],
    ["an unknown output", ["--output", "type=floppy", "CONTEXT"], 'unsupported output type "floppy"'],
    [
      "a local output without a folder",
      ["--output", "type=local", "CONTEXT"],
      "dest is required for local output",
    ],
    [
      "an unknown cache type",
      ["--cache-to", "type=cloud,name=a", "CONTEXT"],
      'unknown cache exporter: "cloud"',
    ],
    [
      "a cache type that comes later",
      ["--cache-from", "type=gha", "CONTEXT"],
      'cache type "gha" is not supported yet',
    ],
    [
      "an inline cache to import",
      ["--cache-from", "type=inline", "CONTEXT"],
      "an inline cache is imported with its image",
    ],
    ["a registry cache without a name", ["--cache-to", "type=registry", "CONTEXT"], "requires ref"],
    ["a local cache without a folder", ["--cache-from", "type=local", "CONTEXT"], "requires src"],
    [
      "forms that exclude each other",
      ["--cache-to", "type=local,dest=x,oci-mediatypes=false,image-manifest=true", "CONTEXT"],
      "OCI mediatypes are required",
    ],
    [
      "an unknown cache parameter",
      ["--cache-to", `type=azblob,nmae=a,${URL_}`, "CONTEXT"],
      'unknown parameter "nmae"',
    ],
    [
      "a repeated cache parameter",
      ["--cache-to", `type=azblob,name=a,name=b,${URL_}`, "CONTEXT"],
      "name is given twice",
    ],
    [
      "a mode for an import",
      ["--cache-from", `type=azblob,name=a,mode=max,${URL_}`, "CONTEXT"],
      'unknown parameter "mode"',
    ],
    [
      "an unknown mode",
      ["--cache-to", `type=azblob,name=a,mode=all,${URL_}`, "CONTEXT"],
      'invalid mode "all"',
    ],
    ["a missing account", ["--cache-to", "type=azblob,name=a", "CONTEXT"], "account_url is missing"],
    [
      "an account URL without a scheme",
      ["--cache-to", "type=azblob,name=a,account_url=acc.blob.core.windows.net", "CONTEXT"],
      "has no scheme; use https://acc.blob.core.windows.net",
    ],
    [
      "a container name that Azure refuses",
      ["--cache-to", `type=azblob,name=a,container=No,${URL_}`, "CONTEXT"],
      'container "No" is not a name Azure takes',
    ],
    [
      "a key that is not base64",
      ["--cache-to", `type=azblob,name=a,${URL_},secret_access_key=not*base64`, "CONTEXT"],
      "secret_access_key is not base64",
    ],
    [
      "text that is not CSV",
      ["--cache-to", `type=azblob,"name=a,secret_access_key=${SECRET}`, "CONTEXT"],
      "invalid value",
    ],
  ])("%s", (_name, args, message) => {
    const result = bluekiln(["build", ...args.map((arg) => (arg === "CONTEXT" ? context : arg))]);
    expect(result.stderr).toContain(message);
    expect(result.status).toBe(1);
    expect(result.stderr).not.toMatch(/^\s+at /m);
    expect(result.stderr).not.toContain(SECRET);
    expect(result.stderr).not.toContain("not*base64");
  });
});

describe("what a build needs", () => {
  const build = (...args: string[]) =>
    bluekiln(["build", "--state-dir", mkdtempSync(join(services.work, "state-")), ...args]);

  it.each([
    ["a context that is not there", () => build(join(services.work, "nowhere")), "not found"],
    [
      "no Dockerfile",
      () => build(makeContext(services.work, { x: "" })),
      "failed to read dockerfile: open Dockerfile: no such file or directory",
    ],
    [
      "an empty Dockerfile",
      () => build(makeContext(services.work, { Dockerfile: "" })),
      "the Dockerfile cannot be empty",
    ],
    [
      "wildcards in a folder that is not there",
      () => build(makeContext(services.work, { Dockerfile: "FROM scratch\nCOPY a/b/*.md /\n" })),
      "lstat /a/b: no such file or directory",
    ],
    [
      "a copy to below a file",
      () =>
        build(makeContext(services.work, { Dockerfile: "FROM scratch\nCOPY f /f\nCOPY f /f/x/y\n", f: "1" })),
      "lstat /f/x: not a directory",
    ],
    [
      "a copy to a file as a folder",
      () =>
        build(makeContext(services.work, { Dockerfile: "FROM scratch\nCOPY f /f\nCOPY f /f/\n", f: "1" })),
      "mkdir /f: not a directory",
    ],
    [
      "a source that is not there, but for something",
      () => build(makeContext(services.work, { Dockerfile: "FROM scratch\nCOPY --exclude=x a /\n" })),
      "lstat /a: no such file or directory",
    ],
    [
      "a base image that is not there",
      () => build(makeContext(services.work, { Dockerfile: `FROM ${services.registry}/none:1\nRUN true\n` })),
      "/none:1: not found",
    ],
    [
      "a registry that does not answer",
      () => build("--push", "-t", "127.0.0.1:9/a:1", context),
      "failed to push 127.0.0.1:9/a:1",
    ],
    [
      "no OCI runtime",
      () =>
        build(
          "--runtime",
          "/no/such/runtime",
          makeContext(services.work, { Dockerfile: `FROM ${services.base}\nRUN true\n` }),
        ),
      "no OCI runtime can run containers here",
    ],
    [
      "a state directory that cannot be written",
      () => bluekiln(["build", "--state-dir", "/proc/bluekiln", context]),
      "state directory /proc/bluekiln cannot be written",
    ],
  ])("%s", (_name, run, message) => {
    const result = run();
    expect(result.stderr).toContain(message);
    expect(result.status).toBe(1);
    expect(result.stderr).not.toMatch(/^\s+at /m);
  });

  it("shows the failing command, its output and its place in the Dockerfile", () => {
    const folder = makeContext(services.work, {
      Dockerfile: `FROM ${services.base}\nRUN echo before && exit 42\n`,
    });
    const { status, stderr } = build(folder);
    expect(status).toBe(1);
    expect(stderr).toContain(
      'process "/bin/sh -c echo before && exit 42" did not complete successfully: exit code: 42',
    );
    expect(stderr).toMatch(/ > \[2\/2\] RUN echo before && exit 42:\n[\d.]+ before\n------/);
    expect(stderr).toContain("   2 | >>> RUN echo before && exit 42");
  });

  it("says what a RUN for another platform needs, and copies for it without", () => {
    const foreign = process.arch === "x64" ? "arm64" : "amd64";
    const run = makeContext(services.work, {
      Dockerfile: 'FROM scratch\nCOPY --chmod=755 f /f\nRUN ["/f"]\n',
    });
    // no more than the header of a program
    const header = Buffer.alloc(64);
    header.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
    header.set([2, 0, foreign === "arm64" ? 0xb7 : 0x3e, 0], 16);
    writeFileSync(join(run, "f"), header);
    const result = build("--platform", `linux/${foreign}`, run);
    expect(result.status).toBe(1);
    expect(result.stderr).toContain(`cannot run programs of linux/${foreign}`);
    expect(build("--platform", `linux/${foreign}`, context).status).toBe(0);
  });

  it("says that a file of the context cannot be read", () => {
    const folder = makeContext(services.work, { Dockerfile: "FROM scratch\nCOPY f /\n", f: "x" });
    chmodSync(join(folder, "f"), 0o000);
    // root reads everything: the mode is kept and the build works
    expect(build(folder).status).toBe(process.getuid?.() === 0 ? 0 : 1);
  });
});
