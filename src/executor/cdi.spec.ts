import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { checkDevicesAllowed, deviceEdits, readCdiDevices, type CdiDevices } from "./cdi.js";

const SPEC = {
  cdiVersion: "0.6.0",
  kind: "vendor1.com/device",
  containerEdits: { env: ["ALL=1"] },
  devices: [
    {
      name: "foo",
      containerEdits: {
        env: ["FOO=injected"],
        deviceNodes: [{ path: "/dev/foo", hostPath: "/dev/null", permissions: "rw", uid: 5 }],
        mounts: [{ hostPath: "/srv/foo", containerPath: "/foo", options: ["ro", "bind"] }],
        hooks: [{ hookName: "createContainer", path: "/bin/true" }],
        additionalGids: [44],
      },
    },
    {
      name: "bar",
      annotations: { "org.mobyproject.buildkit.device.class": "group" },
      containerEdits: { env: ["BAR=injected"] },
    },
    {
      name: "baz",
      annotations: {
        "org.mobyproject.buildkit.device.class": "group",
        "org.mobyproject.buildkit.device.autoallow": true,
      },
      containerEdits: { env: ["BAZ=injected"] },
    },
  ],
};

let folder: string;
let devices: CdiDevices;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "bluekiln-cdi-"));
  writeFileSync(join(folder, "a.json"), JSON.stringify(SPEC));
  writeFileSync(
    join(folder, "b.yaml"),
    "cdiVersion: 0.6.0\nkind: vendor2.com/gpu\ndevices:\n- name: '0'\n  containerEdits:\n    env: [GPU=0]\n",
  );
  writeFileSync(join(folder, "broken.json"), "{");
  writeFileSync(join(folder, "README"), "not a spec");
  devices = await readCdiDevices([folder, "/nonexistent"]);
});
afterAll(() => rmSync(folder, { recursive: true }));

const env = (name: string): readonly string[] => deviceEdits([{ name, optional: false }], devices).env;

describe("CDI devices", () => {
  it("are read from JSON and YAML; a broken file is told of and harms nothing", () => {
    expect(devices.devices.map(({ name }) => name)).toEqual([
      "vendor1.com/device=bar",
      "vendor1.com/device=baz",
      "vendor1.com/device=foo",
      "vendor2.com/gpu=0",
    ]);
    expect(devices.problems).toHaveLength(1);
    expect(devices.problems[0]).toMatch(/broken\.json: ./);
  });

  it("are chosen by name, kind, wildcard and class", () => {
    expect(env("vendor1.com/device=foo")).toEqual(["ALL=1", "FOO=injected"]);
    expect(env("vendor1.com/device")).toEqual(["ALL=1", "BAR=injected"]);
    expect(env("vendor1.com/device=*")).toEqual(["ALL=1", "BAR=injected", "BAZ=injected", "FOO=injected"]);
    expect(env("group")).toEqual(["ALL=1", "BAR=injected", "BAZ=injected"]);
    expect(env("vendor2.com/gpu=0")).toEqual(["GPU=0"]);
  });

  it("become nodes, mounts, hooks and groups of the container", () => {
    const edits = deviceEdits([{ name: "vendor1.com/device=foo", optional: false }], devices);
    expect(edits.devices).toEqual([
      {
        path: "/dev/foo",
        type: "c",
        major: 1,
        minor: 3,
        permissions: "rw",
        uid: 5,
        gid: undefined,
        fileMode: undefined,
      },
    ]);
    expect(edits.mounts).toEqual([{ destination: "/foo", source: "/srv/foo", type: "bind", readonly: true }]);
    expect(edits.hooks).toEqual([{ hookName: "createContainer", path: "/bin/true" }]);
    expect(edits.additionalGids).toEqual([44]);
  });

  it("are missing with an error only where they are required", () => {
    const missing = { name: "vendor1.com/device=nope", optional: true };
    expect(deviceEdits([missing], devices).env).toEqual([]);
    expect(() => deviceEdits([{ ...missing, optional: false }], devices)).toThrow(
      /^required device "vendor1\.com\/device=nope" is not registered \(.*broken\.json/,
    );
  });

  it("need an entitlement, unless their spec allows them to everybody", () => {
    const check = (name: string, ...allowed: string[]): void =>
      checkDevicesAllowed([{ name, optional: false }], devices, new Set(allowed));
    expect(() => check("vendor1.com/device=foo")).toThrow(
      "device vendor1.com/device=foo is requested by the build but not allowed",
    );
    expect(() => check("vendor1.com/device=*", "device=vendor1.com/device=foo")).toThrow("device=bar");
    check("vendor1.com/device=foo", "device");
    check("vendor1.com/device=foo", "device=vendor1.com/device=foo");
    check("vendor1.com/device=bar", "device=vendor1.com/device");
    check("group", "device=group");
    check("vendor1.com/device=baz");
    check("vendor1.com/device=nope");
  });
});
