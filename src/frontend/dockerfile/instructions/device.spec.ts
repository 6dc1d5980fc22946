import { describe, expect, it } from "vitest";
import { parseDevice } from "./device.js";

const parse = (value: string) => parseDevice(value, (word) => word.replace("$X", "x"));

describe("parseDevice", () => {
  it.each([
    ["nvidia.com/gpu=all", "nvidia.com/gpu=all", false],
    ["nvidia.com/gpu,required", "nvidia.com/gpu", true],
    ["name=v.com/c=$X,required=true", "v.com/c=x", true],
    ["v.com/c=0,required=0", "v.com/c=0", false],
    ["required", "", true],
  ])("%s", (value, name, required) => expect(parse(value)).toEqual({ name, required }));

  it.each([
    ["a,b", "device name already set to a"],
    ["a,required=perhaps", "invalid value for required: perhaps"],
    ['"a', "failed to parse csv devices"],
  ])("refuses %s", (value, message) => expect(() => parse(value)).toThrow(message));
});
