// A connection to a daemon.
import { readFileSync } from "node:fs";
import { connect as connectHttp2, type ClientHttp2Session } from "node:http2";
import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { BuildError, codeOf, messageOf } from "../../lib/index.js";
import type { Endpoint } from "./types.js";

/** Bytes that may be on their way before they are acknowledged. */
const WINDOW = 16 << 20;
/** Milliseconds that a daemon is given to answer. */
const PATIENCE = 20_000;

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: "no such file or directory",
  ECONNREFUSED: "connection refused",
  EACCES: "permission denied",
  ENOTFOUND: "no such host",
};

/** @throws BuildError BUILDER_UNREACHABLE, ADDRESS_INVALID */
export async function openConnection(endpoint: Endpoint): Promise<ClientHttp2Session> {
  const { address, tls } = endpoint;
  const socket = open(endpoint);
  const session = connectHttp2(`${tls ? "https" : "http"}://${tls?.serverName || "buildkit"}`, {
    createConnection: () => socket,
    settings: { initialWindowSize: WINDOW, enablePush: false },
    maxSessionMemory: 1000,
  });
  try {
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("no answer")), PATIENCE);
      // it speaks HTTP/2 once its settings have come
      session.once("remoteSettings", () => {
        clearTimeout(timer);
        session.setLocalWindowSize(WINDOW);
        resolve();
      });
      for (const one of [session, socket])
        one.once("error", (error) => {
          clearTimeout(timer);
          reject(error);
        });
      session.once("close", () => {
        clearTimeout(timer);
        reject(new Error("the connection was closed"));
      });
    });
  } catch (cause) {
    session.destroy();
    const reason = REASONS[codeOf(cause) ?? ""] ?? messageOf(cause);
    throw new BuildError("BUILDER_UNREACHABLE", `failed to connect to ${address}: ${reason}`, { cause });
  }
  session.on("error", () => undefined);
  return session;
}

function open({ address, tls }: Endpoint): Socket {
  const [, scheme, rest] = /^([a-z-]+):\/\/(.*)$/.exec(address) ?? [];
  if (scheme === "unix") return connect(rest!);
  const [, host, port] = /^(.*):(\d+)$/.exec(rest ?? "") ?? [];
  if (scheme !== "tcp" || port === undefined)
    throw new BuildError("ADDRESS_INVALID", `invalid address ${address}; use unix://PATH or tcp://HOST:PORT`);
  const where = { host: host!.replace(/^\[(.*)\]$/, "$1"), port: Number(port) };
  if (!tls) return connect(where);
  const { ca, cert, key, serverName } = tls;
  try {
    return connectTls({
      ...where,
      ALPNProtocols: ["h2"],
      servername: serverName || where.host,
      ...(ca && { ca: readFileSync(ca) }),
      ...(cert && { cert: readFileSync(cert) }),
      ...(key && { key: readFileSync(key) }),
    });
  } catch (cause) {
    throw new BuildError("ADDRESS_INVALID", `failed to connect to ${address}: ${messageOf(cause)}`, {
      cause,
    });
  }
}
