// What this process lends a build of a daemon, served in the tunnel: folders, outputs, secrets, agents, credentials,
// stores of blobs. Each service is one of BuildKit's session.
import { createWriteStream } from "node:fs";
import { mkdir } from "node:fs/promises";
import { createServer, type Http2Server } from "node:http2";
import { connect } from "node:net";
import { dirname } from "node:path";
import { Code, ConnectError } from "@connectrpc/connect";
import { BuildError, codeOf, messageOf } from "../../lib/index.js";
import { selectedEntries } from "../../layer/index.js";
import { bytePath } from "../../linux/index.js";
import type { CredentialSource } from "../../registry/index.js";
import { readSecret, type SecretSource } from "../../session/index.js";
import { CredentialsRequestSchema, CredentialsResponseSchema } from "../gen/buildkit/auth_pb.js";
import { GetSecretRequestSchema, GetSecretResponseSchema } from "../gen/buildkit/secrets_pb.js";
import { CheckAgentRequestSchema, CheckAgentResponseSchema } from "../gen/buildkit/ssh_pb.js";
import {
  HealthCheckRequestSchema,
  HealthCheckResponse_ServingStatus,
  HealthCheckResponseSchema,
} from "../gen/grpc/health_pb.js";
import { ServedCall, unary, type Handler } from "../grpc.js";
import { receiveFolder } from "../session/receive.js";
import { sendFolder } from "../session/send.js";
import { bytesMessage, bytesOf } from "../session/tunnel.js";
import { contentHandlers, type Stores } from "./content.js";

/** Where an output goes. */
export interface Sink {
  readonly kind: "folder" | "file";
  /** a path; "-" is standard output */
  readonly dest: string;
}

export interface Lent {
  /** by local name */
  readonly folders: ReadonlyMap<string, string>;
  readonly secrets: ReadonlyMap<string, SecretSource>;
  /** sockets by id */
  readonly agents: ReadonlyMap<string, string>;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly credentials: CredentialSource;
  readonly stores: Stores;
  /** by the index of the output in the request */
  readonly sinks: readonly (Sink | undefined)[];
}

/** Methods by their paths, as a session announces them. */
export function attachables(lent: Lent): ReadonlyMap<string, Handler> {
  return new Map<string, Handler>([
    ["/moby.filesync.v1.FileSync/DiffCopy", (call) => sendLocal(call, lent)],
    ["/moby.filesync.v1.FileSend/DiffCopy", (call) => takeOutput(call, lent)],
    [
      "/moby.filesync.v1.Auth/Credentials",
      unary(CredentialsRequestSchema, CredentialsResponseSchema, async ({ Host }) => {
        const domain = Host === "registry-1.docker.io" ? "docker.io" : Host;
        const known = await lent.credentials.credentials(domain);
        if (!known) return {};
        const { username, password, identityToken } = known;
        if (identityToken) return { Secret: identityToken.reveal() };
        return { Username: username, Secret: password.reveal() };
      }),
    ],
    [
      "/moby.buildkit.secrets.v1.Secrets/GetSecret",
      unary(GetSecretRequestSchema, GetSecretResponseSchema, async ({ ID }) => {
        const source = lent.secrets.get(ID);
        const data = source && (await readSecret(source, lent.environment));
        if (!data) throw new ConnectError(`secret ${ID}: not found`, Code.NotFound);
        return { data };
      }),
    ],
    [
      "/moby.sshforward.v1.SSH/CheckAgent",
      unary(CheckAgentRequestSchema, CheckAgentResponseSchema, async ({ ID }) => {
        if (!lent.agents.has(ID || "default"))
          throw new ConnectError(`unset ssh forward key ${ID}`, Code.NotFound);
        return {};
      }),
    ],
    ["/moby.sshforward.v1.SSH/ForwardAgent", (call) => forwardAgent(call, lent)],
    [
      "/grpc.health.v1.Health/Check",
      unary(HealthCheckRequestSchema, HealthCheckResponseSchema, async () => ({
        status: HealthCheckResponse_ServingStatus.SERVING,
      })),
    ],
    ...contentHandlers(lent.stores),
  ]);
}

/** @returns a server to be given connections, with no address of its own */
export function attachableServer(handlers: ReadonlyMap<string, Handler>): Http2Server {
  const server = createServer({ settings: { initialWindowSize: 16 << 20 }, maxSessionMemory: 1000 });
  server.on("session", (session) => session.on("error", () => undefined));
  server.on("stream", (stream, headers, _flags, rawHeaders: readonly string[] = []) => {
    const path = String(headers[":path"]);
    const call = new ServedCall(stream, rawHeaders);
    const handler = handlers.get(path);
    if (!handler) return call.finish(new ConnectError(`unknown method ${path}`, Code.Unimplemented));
    handler(call).then(
      () => call.finish(undefined),
      (error: unknown) => call.finish(asStatus(error)),
    );
  });
  return server;
}

function asStatus(error: unknown): ConnectError {
  if (error instanceof ConnectError) return error;
  return new ConnectError(messageOf(error), codeOf(error) === "ENOENT" ? Code.NotFound : Code.Unknown);
}

async function sendLocal(call: ServedCall, { folders }: Lent): Promise<void> {
  const name = call.values("dir-name")[0] ?? "";
  const folder = folders.get(name);
  if (folder === undefined)
    throw new ConnectError(`no access allowed to dir ${JSON.stringify(name)}`, Code.NotFound);
  const selection = {
    followPaths: decoded(call, "followpaths"),
    includePatterns: decoded(call, "include-patterns"),
    excludePatterns: decoded(call, "exclude-patterns"),
  };
  const root = bytePath(folder);
  await sendFolder(call, root, selectedEntries(root, selection), { asContext: true, moved: () => undefined });
}

/** Values that are not ASCII come escaped, with a word that says so. */
function decoded(call: ServedCall, key: string): readonly string[] {
  const values = call.values(key);
  if (call.values(`${key}-encoded`)[0] !== "1") return values;
  return values.map((value) => decodeURIComponent(value.replaceAll("+", " ")));
}

async function takeOutput(call: ServedCall, { sinks }: Lent): Promise<void> {
  // daemons that know one output only don't say which
  const index = Number(call.values("buildkit-attachable-exporter-id")[0] ?? 0);
  const sink = sinks[index];
  if (!sink) throw new ConnectError(`no output ${index} was asked for`, Code.NotFound);
  const { kind, dest } = sink;
  if (kind === "folder") {
    await mkdir(dest, { recursive: true });
    await receiveFolder(call, bytePath(dest), { moved: () => undefined, merges: true });
    return;
  }
  if (dest !== "-") await mkdir(dirname(dest), { recursive: true });
  const out = dest === "-" ? process.stdout : createWriteStream(dest);
  let failed: unknown;
  out.on("error", (error) => {
    failed = error;
    call.cancel();
  });
  await call.read(
    (message) =>
      new Promise<void>((resolve, reject) => {
        out.write(bytesOf(message), (error) => (error ? reject(error) : resolve()));
      }),
  );
  if (failed) throw new BuildError("OUTPUT_INVALID", messageOf(failed), { cause: failed });
  if (out !== process.stdout) await new Promise<void>((resolve) => out.end(resolve));
}

async function forwardAgent(call: ServedCall, { agents }: Lent): Promise<void> {
  const path = agents.get(call.values("buildkit.ssh.id")[0] || "default");
  if (path === undefined) throw new ConnectError("unset ssh forward key", Code.NotFound);
  const socket = connect(path);
  try {
    socket.on("data", (data: Buffer) => {
      socket.pause();
      void call.send(bytesMessage(data)).then(() => socket.resume());
    });
    socket.on("end", () => call.end());
    socket.on("error", () => call.cancel());
    await call.read((message) => void socket.write(bytesOf(message)));
  } finally {
    socket.end();
  }
}
