import { expect, it } from "vitest";
import { workerRecord } from "./worker-record.js";
import type { DaemonOptions } from "./types.js";

it("tells clients which devices steps can have", () => {
  const annotations = { "org.mobyproject.buildkit.device.autoallow": "true", other: "x" };
  const devices = [
    { name: "vendor.com/gpu=0", annotations, edits: [] },
    { name: "vendor.com/gpu=1", annotations: {}, edits: [] },
  ];
  const { CDIDevices } = workerRecord({ labels: {} } as unknown as DaemonOptions, devices);
  expect(CDIDevices.map(({ Name, AutoAllow, Annotations }) => [Name, AutoAllow, Annotations])).toEqual([
    ["vendor.com/gpu=0", true, annotations],
    ["vendor.com/gpu=1", false, {}],
  ]);
});
