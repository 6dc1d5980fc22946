// Frontends that are images: each runs in a container, and its standard input and output are a connection on which the
// daemon serves it the gateway (gateway.v0 of BuildKit).
import { createServer } from "node:http2";
import { Duplex } from "node:stream";
import { Code, ConnectError } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { hostPlatform } from "../frontend/index.js";
import { image, marshal } from "../llb/index.js";
import { formatReference, parseReference, withDefaultTag } from "../registry/index.js";
import type { ProcessInput } from "../worker/index.js";
import type { DaemonBuild, SolveOptions } from "./daemon-build.js";
import { FrontendReturn } from "./frontend-return.js";
import { gatewayService } from "./gateway-service.js";
import { LLBBridge, type Result } from "./gen/buildkit/gateway_pb.js";
import type { DaemonOptions } from "./types.js";

interface ImageConfig {
  readonly config?: {
    readonly Entrypoint?: readonly string[] | null;
    readonly Cmd?: readonly string[] | null;
    readonly Env?: readonly string[] | null;
    readonly WorkingDir?: string;
    readonly User?: string;
  };
}

/** @throws ConnectError with what the frontend returns, or says before it ends without returning */
export async function runFrontendImage(
  build: DaemonBuild,
  { attrs, inputs, imports }: SolveOptions,
  options: DaemonOptions,
): Promise<Result> {
  const source = attrs["source"] ?? "";
  if (source === "") throw new ConnectError("no source specified for gateway", Code.InvalidArgument);
  const platform = hostPlatform();
  const name = formatReference(withDefaultTag(parseReference(source)));
  const logName = `resolve image config for docker-image://${name}`;
  const resolved = await build
    .frontendHost()
    .resolveImage(name, { platform, resolveMode: "default", logName });
  const { config = {} } = JSON.parse(Buffer.from(resolved.config).toString()) as ImageConfig;
  const pinned = name.includes("@") ? name : `${name}@${resolved.digest}`;
  const definition = marshal(image(pinned, "default", { platform, customName: `docker-image://${pinned}` }));
  const returned = new FrontendReturn(build.job.signal);
  const socket = new ProcessSocket();
  const errors: string[] = [];
  const container = build.job.container({
    mounts: [
      {
        input: 0,
        selector: "",
        dest: "/",
        output: -1,
        readonly: false,
        mountType: "BIND",
        resultID: "",
        contentCache: "DEFAULT",
      },
    ],
    results: [build.job.load(definition, platform, imports)],
    network: "UNSET",
    os: "linux",
    hostname: "",
    extraHosts: [],
  });
  const server = createServer(
    connectNodeAdapter({
      connect: false,
      grpcWeb: false,
      routes: (router) => {
        router.service(
          LLBBridge,
          gatewayService(async () => ({ build, returned, inputs }), options),
        );
      },
    }),
  );
  server.on("session", (session) => session.on("error", () => undefined));
  const exit = container.run({
    args: [...(config.Entrypoint ?? []), ...(config.Cmd ?? [])],
    env: [...(config.Env ?? []), ...environment(attrs, build.sessionId)],
    cwd: config.WorkingDir || "/",
    user: config.User ?? "",
    security: "SANDBOX",
    secretEnv: [],
    onOutput: (stream, chunk) => {
      if (stream === 1) socket.receive(chunk);
      else errors.push(Buffer.from(chunk).toString());
    },
    onInput: (input) => socket.open(input),
    onStarted: () => undefined,
  });
  exit.then(
    (code) =>
      returned.fail(
        new ConnectError(`frontend ${source} ended with exit code ${code}: ${errors.join("").trim()}`),
      ),
    (error: unknown) => returned.fail(error as Error),
  );
  server.emit("connection", socket);
  try {
    return await returned.done;
  } finally {
    // what the frontend has returned counts, not how it ends
    await container.release().catch(() => undefined);
    socket.destroy();
  }
}

/** What was asked of it, as BuildKit's library reads it. */
function environment(attrs: SolveOptions["attrs"], sessionId: string): string[] {
  const options = Object.entries(attrs).map(
    ([key, value], i) => `BUILDKIT_FRONTEND_OPT_${i}=${key}=${value}`,
  );
  return [...options, `BUILDKIT_SESSION_ID=${sessionId}`, "BUILDKIT_WORKERS=[]", "BUILDKIT_EXPORTEDPRODUCT="];
}

/** A process's standard input and output as one connection. */
class ProcessSocket extends Duplex {
  #input: ProcessInput | undefined;
  readonly #early: Uint8Array[] = [];

  open(input: ProcessInput): void {
    this.#input = input;
    for (const chunk of this.#early.splice(0)) input.write(chunk);
  }

  receive(chunk: Uint8Array): void {
    if (!this.destroyed) this.push(Buffer.from(chunk));
  }

  override _read(): void {
    // what comes is pushed as it comes
  }

  override _write(chunk: Buffer, _encoding: string, callback: () => void): void {
    const copy = Uint8Array.from(chunk);
    if (this.#input) this.#input.write(copy);
    else this.#early.push(copy);
    callback();
  }
}
