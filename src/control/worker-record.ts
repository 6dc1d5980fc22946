// The daemon's one worker, as clients see it.
import { hostname } from "node:os";
import { create } from "@bufbuild/protobuf";
import { isAutoAllowed, type CdiDevice } from "../executor/index.js";
import { workerPlatforms } from "../frontend/index.js";
import { PlatformSchema } from "./gen/buildkit/ops_pb.js";
import {
  BuildkitVersionSchema,
  CDIDeviceSchema,
  WorkerRecordSchema,
  type WorkerRecord,
} from "./gen/buildkit/worker_pb.js";
import type { DaemonOptions } from "./types.js";

/** The version of BuildKit that clients may take this daemon for. */
export const BUILDKIT_VERSION = create(BuildkitVersionSchema, {
  package: "github.com/moby/buildkit",
  version: "v0.25.0",
  revision: "",
});

/** @param devices that steps can have */
export function workerRecord(
  { labels, workerId }: DaemonOptions & { workerId?: string },
  devices: readonly CdiDevice[] = [],
): WorkerRecord {
  return create(WorkerRecordSchema, {
    ID: workerId ?? hostname(),
    Labels: {
      "org.mobyproject.buildkit.worker.executor": "oci",
      "org.mobyproject.buildkit.worker.hostname": hostname(),
      "org.mobyproject.buildkit.worker.network": "host",
      "org.mobyproject.buildkit.worker.snapshotter": "overlayfs",
      ...labels,
    },
    platforms: workerPlatforms().map(({ Architecture, OS, Variant = "" }) =>
      create(PlatformSchema, { Architecture, OS, Variant }),
    ),
    BuildkitVersion: BUILDKIT_VERSION,
    CDIDevices: devices.map((device) =>
      create(CDIDeviceSchema, {
        Name: device.name,
        AutoAllow: isAutoAllowed(device),
        Annotations: { ...device.annotations },
      }),
    ),
  });
}
