// The daemon: BuildKit's services on sockets, over one engine.
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { createServer, createSecureServer, type Http2Server, type ServerHttp2Session } from "node:http2";
import { connect, type AddressInfo } from "node:net";
import { dirname, join } from "node:path";
import type { TLSSocket } from "node:tls";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { Engine } from "../builder/index.js";
import { BuildError } from "../lib/index.js";
import { Builds } from "./builds.js";
import { contentService } from "./content-service.js";
import { controlService } from "./control-service.js";
import { clientOf, gatewayService } from "./gateway-service.js";
import { Control } from "./gen/buildkit/control_pb.js";
import { LLBBridge } from "./gen/buildkit/gateway_pb.js";
import { Content } from "./gen/containerd/content_pb.js";
import { TraceService } from "./gen/opentelemetry/trace_pb.js";
import { Health, HealthCheckResponse_ServingStatus } from "./gen/grpc/health_pb.js";
import { History } from "./history.js";
import { Sessions } from "./session/sessions.js";
import { collectorOf } from "./traces/collector.js";
import { Traces } from "./traces/traces.js";
import type { Address, DaemonOptions, TlsFiles } from "./types.js";

/** Bytes that a client may send before they are taken. */
const WINDOW = 16 << 20;

/** Below are standard input, output and error (sd_listen_fds(3)). */
const FIRST_INHERITED = 3;

export class Daemon {
  readonly #options: DaemonOptions;
  readonly #engine: Engine;
  readonly #sessions: Sessions;
  readonly #history: History;
  readonly #traces: Traces;
  readonly #handler: ReturnType<typeof connectNodeAdapter>;
  readonly #closing = new AbortController();
  readonly #servers: Http2Server[] = [];
  readonly #connections = new Set<ServerHttp2Session>();

  /** @throws BuildError STATE_DIR_UNWRITABLE, HISTORY_LOCKED */
  constructor(options: DaemonOptions) {
    this.#options = options;
    this.#engine = new Engine(options.engine);
    const { root, own } = this.#engine.state;
    this.#sessions = new Sessions({ stateRoot: root, own });
    const builds = new Builds();
    const history = (this.#history = new History(join(root, "history"), options.history));
    this.#traces = new Traces(collectorOf(options.environment, options.warn), (ref, lines) =>
      history.setTrace(ref, lines),
    );
    const control = controlService({
      engine: this.#engine,
      builds,
      sessions: this.#sessions,
      history,
      traces: this.#traces,
      options,
      closing: this.#closing.signal,
    });
    this.#handler = connectNodeAdapter({
      connect: false,
      grpcWeb: false,
      readMaxBytes: 64 << 20,
      routes: (router) => {
        router.service(Control, control);
        router.service(LLBBridge, gatewayService(clientOf(builds), options));
        router.service(Content, contentService(history));
        router.service(TraceService, this.#traces.service);
        router.service(Health, { check: () => ({ status: HealthCheckResponse_ServingStatus.SERVING }) });
      },
    });
  }

  /** Ready for clients when it returns. @returns the addresses, with ports @throws BuildError ADDRESS_INVALID */
  async listen(): Promise<readonly Address[]> {
    return Promise.all(this.#options.addresses.map((address) => this.#listen(address)));
  }

  async #listen(address: Address): Promise<Address> {
    const [, scheme, rest] = /^([a-z]+):\/\/(.*)$/.exec(address) ?? [];
    const settings = { initialWindowSize: WINDOW, maxConcurrentStreams: 10_000 };
    const { tls, group } = this.#options;
    const isTcp = scheme === "tcp";
    const server =
      isTcp && tls ? createSecureServer({ settings, ...secure(tls) }) : createServer({ settings });
    server.on("session", (session: ServerHttp2Session) => {
      session.setLocalWindowSize(WINDOW);
      this.#connections.add(session);
      session.on("close", () => this.#connections.delete(session));
      // clients of Go end connections in a way that Node takes for an error
      session.on("error", () => undefined);
    });
    // clients of Go that wrap connections themselves negotiate no protocol; they speak HTTP/2 all the same
    server.on("unknownProtocol", (socket: TLSSocket) => {
      if (socket.alpnProtocol !== false) return void socket.destroy();
      Object.defineProperty(socket, "alpnProtocol", { value: "h2" });
      server.emit("secureConnection", socket);
    });
    server.on("request", (request, response) => {
      if (request.url === "/moby.buildkit.v1.Control/Session") {
        this.#sessions.accept(request, response);
      } else this.#handler(request, response);
    });
    this.#servers.push(server);
    if (isTcp) {
      const [, host, port] = /^(.*):(\d+)$/.exec(rest!) ?? [];
      if (port === undefined) throw new BuildError("ADDRESS_INVALID", `invalid address ${address}`);
      await listening(server, { host: host!.replace(/^\[(.*)\]$/, "$1"), port: Number(port) });
      return `tcp://${host}:${(server.address() as AddressInfo).port}`;
    }
    if (scheme === "fd") {
      const fd = inherited(rest!);
      await listening(server, { fd });
      return `fd://${fd}`;
    }
    if (scheme !== "unix")
      throw new BuildError("ADDRESS_INVALID", `invalid address ${address}; use unix://, tcp:// or fd://`);
    await removeStale(rest!);
    mkdirSync(dirname(rest!), { recursive: true });
    const mask = process.umask(0o777);
    try {
      await listening(server, { path: rest! });
    } finally {
      process.umask(mask);
    }
    if (group !== undefined) chownSync(rest!, process.getuid!(), group);
    chmodSync(rest!, 0o660);
    return address;
  }

  /** Ends builds, connections and the engine. */
  async close(): Promise<void> {
    this.#closing.abort(new BuildError("CANCELED", "the daemon ends"));
    for (const server of this.#servers) server.close();
    // builds tell their clients why they end
    await new Promise((resolve) => setTimeout(resolve, 100));
    for (const connection of this.#connections) connection.destroy();
    this.#traces.close();
    await this.#engine.close();
    this.#history.close();
    for (const address of this.#options.addresses)
      if (address.startsWith("unix://")) rmSync(address.slice("unix://".length), { force: true });
  }
}

function listening(
  server: Http2Server,
  where: { host?: string; port?: number; path?: string; fd?: number },
): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(where, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

/** A socket that systemd has opened: the first, or the one that is named. @throws BuildError ADDRESS_INVALID */
function inherited(number: string): number {
  const count = process.env["LISTEN_PID"] === String(process.pid) ? Number(process.env["LISTEN_FDS"]) : 0;
  const fd = number === "" ? FIRST_INHERITED : Number(number);
  if (!(fd >= FIRST_INHERITED && fd < FIRST_INHERITED + count))
    throw new BuildError("ADDRESS_INVALID", `no socket was passed for fd://${number} (LISTEN_FDS)`);
  return fd;
}

function secure({ cert, key, ca }: TlsFiles): object {
  return {
    cert: readFileSync(cert),
    key: readFileSync(key),
    ...(ca !== undefined && { ca: readFileSync(ca), requestCert: true, rejectUnauthorized: true }),
  };
}

/** @throws BuildError ADDRESS_IN_USE if somebody answers there */
async function removeStale(path: string): Promise<void> {
  if (!existsSync(path)) return;
  const answers = await new Promise<boolean>((resolve) => {
    const socket = connect(path, () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", () => resolve(false));
  });
  if (answers) throw new BuildError("ADDRESS_IN_USE", `another daemon listens on ${path}`);
  rmSync(path, { force: true });
}
