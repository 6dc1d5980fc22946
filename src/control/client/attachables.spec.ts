// What this process lends, asked for by the daemon's own side of a session.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { once } from "node:events";
import { connect as connectHttp2, type ClientHttp2Session, type Http2Server } from "node:http2";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, expect, it } from "vitest";
import { DiskStore } from "../../cache/index.js";
import { digestOf, Secret } from "../../lib/index.js";
import { Channel } from "../grpc.js";
import { RemoteSession } from "../session/remote-session.js";
import { attachables, attachableServer, type Lent } from "./attachables.js";

const NOTHING: Lent = {
  folders: new Map(),
  secrets: new Map(),
  agents: new Map(),
  environment: {},
  credentials: { credentials: async () => undefined },
  stores: new Map(),
  sinks: [],
};
const signal = new AbortController().signal;

let folder: string;
let server: Http2Server;
let connection: ClientHttp2Session;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bluekiln-lent-"));
});
afterEach(() => {
  connection.destroy();
  server.close();
  rmSync(folder, { recursive: true, force: true });
});

async function session(lent: Partial<Lent>): Promise<RemoteSession> {
  const handlers = attachables({ ...NOTHING, ...lent });
  server = attachableServer(handlers).listen(join(folder, "s"));
  await once(server, "listening");
  connection = connectHttp2("http://client", { createConnection: () => connect(join(folder, "s")) });
  const methods = new Set(handlers.keys());
  return new RemoteSession({
    id: "x",
    sharedKey: "",
    channel: new Channel(connection),
    methods,
    find: () => Promise.reject(new Error("there is no other")),
    stateRoot: folder,
    own: folder,
  });
}

it("forwards agents, several connections at once", async () => {
  const agent = createServer((peer) => peer.on("data", (data) => peer.end(`answer to ${data.toString()}`)));
  agent.listen(join(folder, "agent"));
  const lent = await session({ agents: new Map([["default", join(folder, "agent")]]) });
  expect(await lent.agentSocket("other")).toBeUndefined();
  const path = await lent.agentSocket("");
  const ask = (question: string): Promise<string> => {
    const socket = connect(path!);
    socket.write(question);
    return text(socket);
  };
  expect(await Promise.all([ask("a"), ask("b")])).toEqual(["answer to a", "answer to b"]);
  agent.close();
  lent.close();
});

it("gives credentials and secrets, and nothing that was not named", async () => {
  const password = new Secret("p");
  writeFileSync(join(folder, "secret"), "of a file");
  const lent = await session({
    secrets: new Map([
      ["f", { kind: "file", path: join(folder, "secret") }],
      ["e", { kind: "env", name: "E" }],
      ["gone", { kind: "file", path: join(folder, "gone") }],
    ]),
    environment: { E: "of the environment" },
    credentials: {
      credentials: async (domain) => (domain === "docker.io" ? { username: "u", password } : undefined),
    },
  });
  expect(Buffer.from((await lent.secret("f"))!).toString()).toBe("of a file");
  expect(Buffer.from((await lent.secret("e"))!).toString()).toBe("of the environment");
  expect(await lent.secret("gone")).toBeUndefined();
  expect(await lent.secret("other")).toBeUndefined();
  expect((await lent.credentials("docker.io"))?.password.reveal()).toBe("p");
  expect(await lent.credentials("elsewhere")).toBeUndefined();
});

it("keeps blobs in stores, whole or not at all", async () => {
  const store = new DiskStore(join(folder, "store"));
  const lent = (await session({ stores: new Map([["local:x", store]]) })).store(
    "local:x",
    signal,
    () => undefined,
  );
  const data = Buffer.alloc(3 << 20, "blob");
  const descriptor = { mediaType: "x", digest: digestOf(data), size: data.length };
  expect(await lent.has(descriptor.digest)).toBe(false);
  await lent.putData(descriptor, data);
  await lent.putData(descriptor, data);
  expect(readFileSync(store.path(descriptor.digest)).equals(data)).toBe(true);
  expect((await lent.read(descriptor.digest)).equals(data)).toBe(true);

  const wrong = { ...descriptor, digest: digestOf("something else") };
  await expect(lent.putData(wrong, data)).rejects.toThrow("unexpected digest");
  expect(await store.has(wrong.digest)).toBe(false);
  const nothing = { mediaType: "x", digest: digestOf(""), size: 0 };
  await lent.putData(nothing, Buffer.alloc(0));
  expect(await lent.read(nothing.digest)).toHaveLength(0);
});

it("lends the folders that are named, and no others", async () => {
  writeFileSync(join(folder, "f"), "content");
  const lent = await session({ folders: new Map([["context", folder]]) });
  const files = await lent.readFiles("context", ["f"], signal);
  expect(Buffer.from(files.get("f")!).toString()).toBe("content");
  await expect(lent.readFiles("other", ["f"], signal)).rejects.toThrow('no access allowed to dir "other"');
});
