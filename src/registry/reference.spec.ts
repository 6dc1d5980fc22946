import { describe, expect, it } from "vitest";
import { familiarReference, formatReference, parseReference, withDefaultTag } from "./reference.js";

describe("parseReference", () => {
  it.each([
    ["alpine", "docker.io/library/alpine:latest", "alpine:latest"],
    ["org/app:1", "docker.io/org/app:1", "org/app:1"],
    ["127.0.0.1:5000/app", "127.0.0.1:5000/app:latest", "127.0.0.1:5000/app:latest"],
    ["localhost/app:x", "localhost/app:x", "localhost/app:x"],
    [
      `a@sha256:${"0".repeat(64)}`,
      `docker.io/library/a@sha256:${"0".repeat(64)}`,
      `a@sha256:${"0".repeat(64)}`,
    ],
  ])("%s is %s", (text, full, familiar) => {
    const reference = withDefaultTag(parseReference(text));
    expect(formatReference(reference)).toBe(full);
    expect(familiarReference(reference)).toBe(familiar);
  });

  it.each(["", "UPPER/Case", "a b", "a:", "a@sha256:12", "-a"])("refuses %j", (text) => {
    expect(() => parseReference(text)).toThrow();
  });
});
