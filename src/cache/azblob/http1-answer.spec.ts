import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { AnswerReader, type Answer } from "./http1-answer.js";

interface Read {
  readonly answer: Answer;
  readonly isComplete: boolean;
}

/** Feeds the reader what there is room for, in pieces of these sizes at most. */
function read(bytes: Buffer, pieces: readonly number[], method = "GET"): Read {
  const reader = new AnswerReader(method, Buffer.alloc(1024));
  let isComplete = false;
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const { space } = reader;
    const piece = bytes.subarray(at, at + Math.min(pieces[i % pieces.length]!, space.length));
    piece.copy(space);
    at += piece.length;
    isComplete = reader.take(piece.length);
  }
  return { answer: reader.answer, isComplete: isComplete || reader.end() };
}

const chunked = (parts: readonly Buffer[]): Buffer =>
  Buffer.concat([
    ...parts.map((part) =>
      Buffer.concat([Buffer.from(`${part.length.toString(16)};x=y\r\n`), part, Buffer.from("\r\n")]),
    ),
    Buffer.from("0\r\nTrailer: t\r\n\r\n"),
  ]);

describe("an answer is the same however its bytes come", () => {
  const parts = fc.array(fc.uint8Array({ minLength: 1, maxLength: 3000 }), { maxLength: 5 });
  const pieces = fc.array(fc.integer({ min: 1, max: 1500 }), { minLength: 1, maxLength: 8 });

  it.each([
    ["of known length", (body: Buffer) => [`Content-Length: ${body.length}\r\n\r\n`, body] as const],
    ["until the connection ends", (body: Buffer) => ["\r\n", body] as const],
    [
      "in chunks",
      (_: Buffer, split: readonly Buffer[]) =>
        ["Transfer-Encoding: chunked\r\n\r\n", chunked(split)] as const,
    ],
  ])("%s", (_title, form) => {
    fc.assert(
      fc.property(parts, pieces, (split, sizes) => {
        const buffers = split.map((part) => Buffer.from(part));
        const body = Buffer.concat(buffers);
        const [fields, sent] = form(body, buffers);
        const head = `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 206 Partial Content\r\nx-a: 1\r\nX-A: 2\r\n${fields}`;
        const { answer, isComplete } = read(Buffer.concat([Buffer.from(head), sent]), sizes);
        expect(isComplete).toBe(true);
        expect(answer.status).toBe(206);
        expect(answer.headers["x-a"]).toBe("1, 2");
        expect(answer.body.equals(body)).toBe(true);
      }),
    );
  });
});

describe("an answer without a body", () => {
  it.each([
    ["to HEAD", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"],
    ["204", "PUT", "HTTP/1.1 204 No Content\r\n\r\n"],
    ["of length 0", "PUT", "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"],
  ])("%s", (_title, method, text) => {
    const { answer, isComplete } = read(Buffer.from(text), [7], method);
    expect(isComplete).toBe(true);
    expect(answer.body.length).toBe(0);
  });
});

describe("what breaks off is not complete", () => {
  it.each([
    ["in its head", "HTTP/1.1 200 OK\r\nContent-"],
    ["in its body", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc"],
    ["in a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc"],
    ["before the last chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"],
  ])("%s", (_title, text) => {
    const { answer, isComplete } = read(Buffer.from(text), [1000]);
    expect(isComplete).toBe(false);
    expect(["", "abc"]).toContain(answer.body.toString());
  });
});

describe("what is no answer is an error:", () => {
  it.each([
    ["another protocol", "SSH-2.0-OpenSSH_9.2\r\n\r\n"],
    ["a length that is none", "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nabcde"],
    ["a chunk without a size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"],
    ["more than was announced", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcde"],
    ["a line that has no end", `HTTP/1.1 200 ${"x".repeat(2000)}`],
  ])("%s", (_title, text) => {
    expect(() => read(Buffer.from(text), [1000])).toThrow(/HTTP/);
  });
});
