import { create } from "@bufbuild/protobuf";
import { expect, it } from "vitest";
import { WorkerRecordSchema } from "./gen/buildkit/worker_pb.js";
import { workerFilter } from "./worker-filter.js";

const worker = create(WorkerRecordSchema, {
  ID: "w1",
  Labels: { "org.example/executor": "oci", sandbox: "true" },
});

it.each([
  [[], true],
  [["id==w1"], true],
  [["id!=w1"], false],
  [["id~=^w"], true],
  [["labels.sandbox"], true],
  [["labels.other"], false],
  [['labels."org.example/executor"==oci'], true],
  [['labels."org.example/executor"=="oci",labels.sandbox==false'], false],
  [["id==other", "labels.sandbox==true"], true],
])("%j", (filters, wanted) => {
  expect(workerFilter(filters)(worker)).toBe(wanted);
});

it.each(["platform==linux", "id=w1", "labels==x"])("%j is refused", (text) => {
  expect(() => workerFilter([text])).toThrow("invalid filter");
});
