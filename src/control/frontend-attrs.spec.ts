import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { frontendRequest } from "./frontend-attrs.js";
import { DefinitionSchema } from "./gen/buildkit/ops_pb.js";

describe("attributes of the Dockerfile frontend", () => {
  it.each([
    [{ platform: "linux/amd64,foo" }, 'failed to parse target platform foo: "foo": unknown operating system'],
    [{ platform: "windows(10)x/amd64" }, '"windows(10)x" is an invalid OS component'],
    [{ "add-hosts": "a" }, "invalid key-value pair a"],
    [{ "add-hosts": "a=b" }, "failed to parse IP b"],
    [{ "force-network-mode": "x" }, "invalid netmode x"],
  ])("%o are refused", (attrs, problem) => {
    expect(() => frontendRequest(attrs, {}, "s")).toThrow(problem);
  });

  it("have platforms with versions of the system, normalized", () => {
    const { platforms } = frontendRequest({ platform: "Windows(10.0.1+win32k)/x86_64,linux/arm" }, {}, "s");
    expect(platforms).toEqual([
      { OS: "windows", Architecture: "amd64", OSVersion: "10.0.1", OSFeatures: ["win32k"] },
      { OS: "linux", Architecture: "arm", Variant: "v7" },
    ]);
  });

  it("do not take nothing for a graph", () => {
    const nothing = create(DefinitionSchema);
    expect(() => frontendRequest({}, { context: nothing, dockerfile: nothing }, "s")).toThrow(
      "invalid nil input definition to definition op",
    );
  });
});
