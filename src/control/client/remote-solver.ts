// A build in a daemon from its request to its answer: a session that lends what it needs, Control.Solve, and the daemon's
// Dockerfile frontend run as a client's frontend, as buildx does.
import { createHash, randomUUID } from "node:crypto";
import type { ClientHttp2Session } from "node:http2";
import { hostname } from "node:os";
import { basename } from "node:path";
import { ConnectError } from "@connectrpc/connect";
import type { BuildRequest } from "../../builder/index.js";
import { DiskStore } from "../../cache/index.js";
import { BuildError, messageOf } from "../../lib/index.js";
import { statusOf as statusMessage } from "../errors.js";
import {
  SolveRequestSchema as ControlSolveRequestSchema,
  SolveResponseSchema as ControlSolveResponseSchema,
  StatusRequestSchema,
  StatusResponseSchema,
} from "../gen/buildkit/control_pb.js";
import {
  ReturnRequestSchema,
  ReturnResponseSchema,
  SolveRequestSchema,
  SolveResponseSchema,
  type Result,
} from "../gen/buildkit/gateway_pb.js";
import { Channel } from "../grpc.js";
import { serveThrough } from "../session/tunnel.js";
import { attachables, attachableServer, type Lent } from "./attachables.js";
import { StatusBatch } from "./events.js";
import { failureOf, statusOf } from "./failure.js";
import type { WireEntry } from "./request.js";
import type { RemoteBuilderOptions } from "./types.js";

const CONTROL = "/moby.buildkit.v1.Control";
const BRIDGE = "/moby.buildkit.v1.frontend.LLBBridge";

/** Milliseconds that the last events of a build are waited for. */
const LAST_EVENTS = 3000;

/** What a build is in the daemon, besides its request. */
export interface Wire {
  readonly attrs: Readonly<Record<string, string>>;
  readonly exporters: readonly WireEntry[];
  readonly imports: readonly WireEntry[];
  readonly exports: readonly WireEntry[];
}

export interface Solved {
  /** the build's id */
  readonly ref: string;
  readonly response: Readonly<Record<string, string>>;
  readonly result: Result;
}

export class RemoteSolver {
  readonly #connection: ClientHttp2Session;
  readonly #channel: Channel;
  readonly #options: RemoteBuilderOptions;

  constructor(connection: ClientHttp2Session, channel: Channel, options: RemoteBuilderOptions) {
    this.#connection = connection;
    this.#channel = channel;
    this.#options = options;
  }

  /** Runs the Dockerfile frontend of the daemon as a client's frontend, as buildx does. */
  async run(
    request: BuildRequest,
    { attrs, exporters, imports, exports }: Wire,
    lent: Pick<Lent, "sinks" | "stores">,
  ): Promise<Solved> {
    const ref = newId();
    const during = new AbortController();
    const signal = AbortSignal.any([request.signal, during.signal]);
    const session = this.#openSession(request, lent, signal);
    const events = this.#follow(ref, request, signal);
    try {
      const solved = this.#channel.unary(
        `${CONTROL}/Solve`,
        ControlSolveRequestSchema,
        ControlSolveResponseSchema,
        {
          Ref: ref,
          Session: session,
          FrontendAttrs: attestAttrs(attrs),
          Exporters: exporters.map((entry) => ({ ...entry })),
          // for daemons that know one output only
          ExporterDeprecated: exporters[0]?.Type ?? "",
          ExporterAttrsDeprecated: exporters[0]?.Attrs ?? {},
          Cache: { Exports: [...exports], Imports: [...imports] },
          Entitlements: [...request.entitlements],
        },
        signal,
      );
      // what fails before the frontend is asked must not let it wait
      const asked = this.#runFrontend(ref, attrs, imports, AbortSignal.any([signal, failed(solved)]));
      asked.catch(() => undefined);
      const { ExporterResponse } = await solved;
      return { ref, response: ExporterResponse, result: await asked };
    } catch (error) {
      if (this.#channel.isClosed && !request.signal.aborted)
        throw new BuildError("BUILDER_UNREACHABLE", "the builder closed the connection", { cause: error });
      throw failureOf(error);
    } finally {
      await Promise.race([events, new Promise((resolve) => setTimeout(resolve, LAST_EVENTS).unref())]);
      during.abort();
    }
  }

  /** @throws what the frontend says; the build ends with the same */
  async #runFrontend(
    ref: string,
    attrs: Readonly<Record<string, string>>,
    imports: readonly WireEntry[],
    signal: AbortSignal,
  ): Promise<Result> {
    const metadata = { "buildkit-controlapi-buildid": [ref] };
    const end = (how: { result: Result } | { error: NonNullable<ReturnType<typeof statusOf>> }) =>
      this.#channel.unary(
        `${BRIDGE}/Return`,
        ReturnRequestSchema,
        ReturnResponseSchema,
        how,
        signal,
        metadata,
      );
    let result: Result | undefined;
    try {
      const answer = await this.#channel.unary(
        `${BRIDGE}/Solve`,
        SolveRequestSchema,
        SolveResponseSchema,
        {
          Frontend: "dockerfile.v0",
          FrontendOpt: { ...attrs },
          CacheImports: [...imports],
          allowResultReturn: true,
          allowResultArrayRef: true,
        },
        signal,
        metadata,
      );
      result = answer.result;
      if (!result) throw new BuildError("REMOTE_FAILED", "the builder's frontend returned nothing");
    } catch (error) {
      const status = error instanceof ConnectError ? error : new ConnectError(messageOf(error));
      await end({ error: statusOf(status) ?? statusMessage(status) }).catch(() => undefined);
      throw error;
    }
    await end({ result });
    return result;
  }

  /** Lends what the build needs while it runs. @returns the session's id */
  #openSession(
    { folders, secrets, agents, layouts }: BuildRequest,
    { sinks, stores }: Pick<Lent, "sinks" | "stores">,
    signal: AbortSignal,
  ): string {
    const { credentials, environment } = this.#options;
    const images = [...layouts].map(([name, folder]) => [`oci:${name}`, new DiskStore(folder)] as const);
    const handlers = attachables({
      folders,
      secrets,
      agents,
      environment,
      credentials,
      stores: new Map([...stores, ...images]),
      sinks,
    });
    const id = newId();
    const context = folders.get("context") ?? "";
    const stream = this.#connection.request({
      ":method": "POST",
      ":path": `${CONTROL}/Session`,
      "content-type": "application/grpc",
      te: "trailers",
      "x-docker-expose-session-uuid": id,
      "x-docker-expose-session-name": encodeURIComponent(basename(context)),
      // the same folder of the same machine: a daemon may keep what it was sent
      "x-docker-expose-session-sharedkey": createHash("sha256")
        .update(`${hostname()}:${context}`)
        .digest("hex"),
      "x-docker-expose-session-grpc-method": [...handlers.keys()],
    });
    stream.on("error", () => undefined);
    serveThrough(stream, attachableServer(handlers));
    signal.addEventListener("abort", () => stream.close(), { once: true });
    return id;
  }

  async #follow(ref: string, { onProgress }: BuildRequest, signal: AbortSignal): Promise<void> {
    const batch = new StatusBatch(onProgress);
    try {
      await this.#channel.stream(
        `${CONTROL}/Status`,
        StatusRequestSchema,
        StatusResponseSchema,
        { Ref: ref },
        (message) => batch.add(message),
        signal,
      );
    } catch {
      // how a build ends is Solve's to say
    } finally {
      batch.flush();
    }
  }
}

/** What the exporters are to say of the result; all else is the frontend's. */
function attestAttrs(attrs: Wire["attrs"]): Record<string, string> {
  return Object.fromEntries(Object.entries(attrs).filter(([key]) => key.startsWith("attest:")));
}

/** Fires when the build has failed. */
function failed(solved: Promise<unknown>): AbortSignal {
  const controller = new AbortController();
  solved.catch(() => controller.abort());
  return controller.signal;
}

/** As BuildKit's clients name builds and sessions: 25 letters and digits. */
function newId(): string {
  return randomUUID().replaceAll("-", "").slice(0, 25);
}
