import { createServer as createHttpServer, type RequestListener } from "node:http";
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { setTimeout } from "node:timers/promises";
import { afterEach, expect, it } from "vitest";
import { Http1Client } from "./http1-client.js";
import { PartMemory } from "./part-memory.js";
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
const client = (): Http1Client => new Http1Client(new PartMemory(8 << 20));

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
  expect(moves).toBeGreaterThan(30);
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
