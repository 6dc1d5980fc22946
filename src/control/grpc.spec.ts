import { once } from "node:events";
import { PassThrough } from "node:stream";
import fc from "fast-check";
import { expect, it } from "vitest";
import { Deframer, frame, readMessages } from "./grpc.js";

it("messages come out as they went in, however the bytes come", () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 50 })),
      fc.integer({ min: 1, max: 20 }),
      (messages, step) => {
        const stream = Buffer.concat(messages.map(frame));
        const deframer = new Deframer();
        const found: Buffer[] = [];
        for (let at = 0; at < stream.length; at += step)
          found.push(...deframer.push(stream.subarray(at, at + step)));
        expect(found.map((message) => [...message])).toEqual(messages.map((message) => [...message]));
      },
    ),
  );
});

it("messages that are too large, or compressed, are refused before they are taken", () => {
  expect(() => new Deframer().push(Buffer.from([0, 0xff, 0xff, 0xff, 0xff]))).toThrow(/larger than/);
  expect(() => new Deframer().push(Buffer.from([1, 0, 0, 0, 1, 0]))).toThrow(/compressed/);
});

it("a stream that has closed before it is read says so", async () => {
  const stream = new PassThrough();
  stream.destroy();
  await once(stream, "close");
  await expect(readMessages(stream, () => undefined)).rejects.toThrow("stream was closed");
});
