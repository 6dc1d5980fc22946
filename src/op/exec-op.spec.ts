// What of a command's mounts is in its key. Source of the rules: BuildKit 0.25's cache, which took every key made here.
import { describe, expect, it } from "vitest";
import type { ExecOp, Mount } from "../llb/index.js";
import { execKey } from "./exec-op.js";

const ROOT: Mount = {
  input: 0,
  selector: "",
  dest: "/",
  output: 0,
  readonly: false,
  mountType: "BIND",
  resultID: "",
  contentCache: "DEFAULT",
};

function mountsInKey(...mounts: readonly Mount[]): unknown {
  const exec: ExecOp = {
    meta: {
      args: ["true"],
      env: [],
      cwd: "/",
      user: "",
      extraHosts: [],
      hostname: "",
      ulimit: [],
      cgroupParent: "",
      removeMountStubsRecursive: true,
      validExitCodes: [],
    },
    mounts,
    network: "UNSET",
    security: "SANDBOX",
    secretEnv: [],
    cdiDevices: [],
  };
  const key = JSON.parse(execKey(exec, { OS: "linux", Architecture: "amd64" })) as {
    Exec: { mounts?: unknown };
  };
  return key.Exec.mounts;
}

describe("execKey", () => {
  it("has no mounts where there is a writable root alone", () => {
    expect(mountsInKey(ROOT)).toBeUndefined();
    expect(mountsInKey({ ...ROOT, output: 3, contentCache: "OFF" })).toBeUndefined();
    expect(mountsInKey({ ...ROOT, readonly: true })).toEqual([{ dest: "/", readonly: true }]);
  });

  it.each([
    ["the place itself", "/c", { ID: "/c" }],
    ["the place in a namespace", "ns//c", { ID: "ns//c" }],
    ["the place in no namespace", "//c", { ID: "//c" }],
    ["another name", "x", {}],
    ["the place below another", "a/b//c", {}],
  ])("of a cache mount: %s", (_, ID, expected) => {
    const mount = { ...ROOT, input: -1, dest: "/c", output: -1, mountType: "CACHE" } as const;
    expect(mountsInKey(ROOT, { ...mount, cacheOpt: { ID, sharing: "SHARED" } })).toMatchObject([
      { dest: "/" },
      { cacheOpt: expected },
    ]);
    expect(mountsInKey(ROOT, { ...mount, cacheOpt: { ID, sharing: "LOCKED" } })).toMatchObject([
      { dest: "/" },
      { cacheOpt: {} },
    ]);
  });

  it("says how a mount is known, if it says so itself, and not what of it is mounted", () => {
    const mount = { ...ROOT, input: 1, dest: "/m", output: -1, selector: "/part" };
    expect(mountsInKey(ROOT, mount)).toEqual([{ dest: "/" }, { input: 1, dest: "/m", output: -1 }]);
    expect(mountsInKey(ROOT, { ...mount, contentCache: "OFF" })).toMatchObject([{}, { contentCache: 2 }]);
  });
});
