import { expect, it } from "vitest";
import { digestOf } from "../lib/index.js";
import { bytePath } from "../linux/index.js";
import { TreeChecksum } from "./checksum.js";

/** As BuildKit's daemon digests them, asked for its cache of COPY --from a stage with devices. */
it("of a device has its numbers only where a client told them", () => {
  const digest = (path: string, isClients: boolean): string =>
    new TreeChecksum(bytePath("/dev"), isClients).digest({
      path: bytePath(path),
      wildcard: false,
      followLinks: true,
      includePatterns: [],
      excludePatterns: [],
    });
  const text = (minor: number, major: number): string =>
    `namemode438uid0gid0size0typeflag3linknameunamegnamedevmajor${major}devminor${minor}`;
  expect(digest("/null", false)).toBe(digestOf(text(0, 0)));
  expect(digest("/zero", false)).toBe(digestOf(text(0, 0)));
  expect(digest("/null", true)).toBe(digestOf(text(3, 1)));
});
