import fc from "fast-check";
import { expect, it } from "vitest";
import { bytesMessage, bytesOf } from "./tunnel.js";
import { decodePacket, encodePacket, goMode, MODE, PACKET } from "./wire.js";

const bytes = fc.uint8Array({ maxLength: 40 }).map((data) => Buffer.from(data).toString("latin1"));

it("packets come out as they went in", () => {
  const stats = fc.record({
    path: bytes,
    mode: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
    uid: fc.nat(),
    gid: fc.nat(),
    size: fc.nat({ max: Number.MAX_SAFE_INTEGER }),
    modTime: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    linkname: bytes,
    devmajor: fc.nat(),
    devminor: fc.nat(),
    xattrs: fc.constant(new Map([["user.a", Buffer.from([0, 255])]])),
  });
  fc.assert(
    fc.property(stats, fc.nat(), fc.uint8Array(), (stat, id, content) => {
      const data = Buffer.from(content);
      const packet = decodePacket(encodePacket({ type: PACKET.STAT, stat, id, data }));
      expect(packet).toEqual({ type: PACKET.STAT, stat, id, data });
    }),
  );
});

it("whatever comes is read or refused", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (data) => {
      try {
        decodePacket(Buffer.from(data));
      } catch (error) {
        expect(error).toBeInstanceOf(Error);
      }
    }),
    { numRuns: 2000 },
  );
});

it("bytes of the tunnel come out as they went in", () => {
  for (const size of [0, 1, 127, 128, 16_383, 16_384, 1 << 20]) {
    const data = Buffer.alloc(size, 7);
    expect(bytesOf(bytesMessage(data)).equals(data)).toBe(true);
  }
});

it("modes are Go's", () => {
  expect(goMode(0o100644)).toBe(0o644);
  expect(goMode(0o041777)).toBe(MODE.DIR + MODE.STICKY + 0o777);
  expect(goMode(0o020600)).toBe(MODE.DEVICE + MODE.CHAR_DEVICE + 0o600);
});
