// The sessions that are open, by id. A build may be asked for before its session is there: look-ups wait.
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import { Code, ConnectError } from "@connectrpc/connect";
import { Channel, valuesOf } from "../grpc.js";
import { RemoteSession } from "./remote-session.js";
import { connectThrough } from "./tunnel.js";

/** Milliseconds that a session is waited for. */
const PATIENCE = 5000;

export class Sessions {
  readonly #folders: { readonly stateRoot: string; readonly own: string };
  readonly #open = new Map<string, RemoteSession>();
  readonly #waiting = new Map<string, Set<(session: RemoteSession) => void>>();

  constructor(folders: { readonly stateRoot: string; readonly own: string }) {
    this.#folders = folders;
  }

  /** Serves Control.Session: from now on the client can be asked. */
  accept({ headers, rawHeaders }: Http2ServerRequest, response: Http2ServerResponse): void {
    const id = String(headers["x-docker-expose-session-uuid"] ?? "");
    response.addTrailers({ "grpc-status": "0" });
    const { stream } = response;
    // the headers go at once: the client serves from then on
    stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
    stream.on("error", () => undefined);
    const inner = connectThrough(stream);
    const methods = new Set(valuesOf(rawHeaders, "x-docker-expose-session-grpc-method"));
    const session = new RemoteSession({
      id,
      sharedKey: String(headers["x-docker-expose-session-sharedkey"] ?? ""),
      channel: new Channel(inner),
      methods,
      find: (other, signal) => this.get(other, signal),
      ...this.#folders,
    });
    this.#open.set(id, session);
    for (const waiting of this.#waiting.get(id) ?? []) waiting(session);
    this.#waiting.delete(id);
    const end = (): void => {
      session.close();
      if (this.#open.get(id) === session) this.#open.delete(id);
      inner.destroy();
      if (!stream.destroyed) stream.end();
    };
    inner.once("close", end);
    stream.once("close", end);
  }

  /** @throws ConnectError if it does not come */
  async get(id: string, signal: AbortSignal): Promise<RemoteSession> {
    const known = this.#open.get(id);
    if (known) return known;
    return new Promise((resolve, reject) => {
      const waiting = this.#waiting.get(id) ?? new Set();
      this.#waiting.set(id, waiting);
      const fail = (): void => {
        waiting.delete(resolve);
        reject(
          new ConnectError(`no active session for ${id}: context deadline exceeded`, Code.DeadlineExceeded),
        );
      };
      const timer = setTimeout(fail, PATIENCE);
      signal.addEventListener("abort", fail, { once: true });
      waiting.add((session) => {
        clearTimeout(timer);
        signal.removeEventListener("abort", fail);
        resolve(session);
      });
    });
  }
}
