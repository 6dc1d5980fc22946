import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { createServer as createHttpServer, type RequestListener } from "node:http";
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { afterEach, expect, it } from "vitest";
import { Http1Client } from "./http1-client.js";
import type { StorageRequest } from "./types.js";

const servers: Server[] = [];
afterEach(() => servers.splice(0).forEach((server) => server.close()));

async function listen(server: Server): Promise<URL> {
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/a?b=c`);
}
const serve = (listener: RequestListener): Promise<URL> => listen(createHttpServer(listener));
/** What is answered to each connection, byte by byte, once it has sent something. */
const serveRaw = (answer: (socket: Socket) => void): Promise<URL> =>
  listen(createServer((socket) => socket.once("data", () => answer(socket)).on("error", () => undefined)));

function request(url: URL, more: Partial<StorageRequest> = {}): StorageRequest {
  return {
    method: "GET",
    url,
    headers: {},
    body: Buffer.alloc(0),
    signal: undefined,
    moved: () => undefined,
    ...more,
  };
}
const client = (): Http1Client => new Http1Client();

it("sends a large body as it is, and says that it moves", async () => {
  const body = Buffer.alloc(9 << 20, "large body ");
  const url = await serve((req, res) => {
    const chunks: Buffer[] = [];
    req.on("data", (chunk: Buffer) => chunks.push(chunk));
    req.on("end", () => {
      const isSame = Buffer.concat(chunks).equals(body);
      res.writeHead(201, { "x-same": String(isSame), "x-sent": req.headers["x-a"] }).end();
    });
  });
  let moves = 0;
  const sent = request(url, { method: "PUT", body, headers: { "x-a": "1" }, moved: () => moves++ });
  const { status, headers } = await client().send(sent);
  expect([status, headers["x-same"], headers["x-sent"]]).toEqual([201, "true", "1"]);
  expect(moves).toBeGreaterThan(15);
});

it("uses a connection again, but not one that the server is about to close", async () => {
  const ports: (number | undefined)[] = [];
  const server = createHttpServer((req, res) => {
    ports.push(req.socket.remotePort);
    res.end("x".repeat(100_000));
  });
  server.keepAliveTimeout = 60_000;
  const url = await listen(server);
  const http = client();
  for (let i = 0; i < 3; i++) expect((await http.send(request(url))).body.length).toBe(100_000);
  expect(new Set(ports).size).toBe(1);
  // "Keep-Alive: timeout=1"
  server.keepAliveTimeout = 1000;
  await http.send(request(url));
  await http.send(request(url));
  expect(new Set(ports).size).toBe(2);
});

it("forgets a connection that was closed while nobody used it", async () => {
  const url = await serveRaw((socket) => socket.end("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
  const http = client();
  for (let i = 0; i < 3; i++) {
    expect((await http.send(request(url))).body.toString()).toBe("ok");
    await setTimeout(50);
  }
});

it("takes an answer that comes before all is sent", async () => {
  const url = await serveRaw((socket) =>
    socket.write("HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\nno!!"),
  );
  const http = client();
  const body = Buffer.alloc(32 << 20);
  const { status } = await http.send(request(url, { method: "PUT", body }));
  expect(status).toBe(403);
  // what was not sent does not become part of the next request
  expect((await http.send(request(url))).status).toBe(403);
});

it("gives what came of a body that broke", async () => {
  const url = await serveRaw((socket) =>
    socket.end(`HTTP/1.1 206 Partial Content\r\nContent-Length: 10\r\n\r\nabc`),
  );
  const { body, broken } = await client().send(request(url));
  expect(body.toString()).toBe("abc");
  expect(broken).toBeInstanceOf(Error);
});

it.each([
  ["that is closed", (socket: Socket) => socket.destroy()],
  ["that speaks something else", (socket: Socket) => socket.write("220 mail.example.com ESMTP\r\n\r\n")],
])("fails over a connection %s", async (_title, answer) => {
  const url = await serveRaw(answer);
  await expect(client().send(request(url))).rejects.toThrow(/closed|HTTP/);
});

it("ends with its signal", async () => {
  const url = await serveRaw(() => undefined);
  const stop = new AbortController();
  const running = client().send(request(url, { signal: stop.signal }));
  await setTimeout(50);
  stop.abort(new Error("enough"));
  await expect(running).rejects.toThrow("enough");
});

it("says why there is no connection", async () => {
  const url = await serve(() => undefined);
  servers.pop()!.close();
  await expect(client().send(request(url))).rejects.toMatchObject({ code: "ECONNREFUSED" });
});

it("sends a part of a file, and the next request over the same connection", async () => {
  const content = randomBytes(3_000_000);
  const path = join(mkdtempSync(join(tmpdir(), "bluekiln-http1-")), "file");
  writeFileSync(path, content);
  const seen: [number | undefined, Buffer][] = [];
  const url = await serve((req, res) => {
    const chunks: Buffer[] = [];
    req.on("data", (chunk: Buffer) => chunks.push(chunk));
    req.on("end", () => {
      seen.push([req.socket.remotePort, Buffer.concat(chunks)]);
      res.writeHead(201).end();
    });
  });
  const file = await open(path);
  const http = client();
  await http.send(request(url, { method: "PUT", body: { file, offset: 100, size: 2_000_000 } }));
  await http.send(request(url, { method: "PUT", body: { file, offset: 2_000_100, size: 7 } }));
  await file.close();
  rmSync(dirname(path), { recursive: true });
  expect(seen.map(([, body]) => body.length)).toEqual([2_000_000, 7]);
  expect(Buffer.concat(seen.map(([, body]) => body)).equals(content.subarray(100, 2_000_107))).toBe(true);
  expect(seen[0]![0]).toBe(seen[1]![0]);
});

it("hands over a partial answer as it comes, no faster than it is taken", async () => {
  const content = randomBytes(4_000_000);
  const url = await serve((_req, res) =>
    res.writeHead(206, { "content-length": content.length }).end(content),
  );
  const taken: Buffer[] = [];
  const take = async (piece: Buffer): Promise<void> => {
    await setTimeout(5);
    taken.push(Buffer.from(piece));
  };
  const { status, body, broken } = await client().send(request(url, { take }));
  expect([status, body.length, broken]).toEqual([206, 0, undefined]);
  expect(Buffer.concat(taken).equals(content)).toBe(true);
});

it("keeps what came of a partial answer that breaks off, and an error's text", async () => {
  const taken: Buffer[] = [];
  const take = async (piece: Buffer): Promise<void> => void taken.push(Buffer.from(piece));
  const broken = await serveRaw((socket) =>
    socket.end("HTTP/1.1 206 Partial Content\r\nContent-Length: 100\r\n\r\nhalf"),
  );
  expect((await client().send(request(broken, { take }))).broken).toBeDefined();
  expect(Buffer.concat(taken).toString()).toBe("half");
  const missing = await serve((_req, res) => res.writeHead(404).end("not there"));
  const { status, body } = await client().send(request(missing, { take }));
  expect([status, body.toString()]).toEqual([404, "not there"]);
  expect(taken.length).toBe(1);
});
