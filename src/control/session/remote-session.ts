// What a client of the daemon lends its builds, asked for through the tunnel.
import { setMaxListeners } from "node:events";
import { mkdtempSync } from "node:fs";
import { mkdir, readFile, rm } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { Code, ConnectError } from "@connectrpc/connect";
import { BuildError, messageOf, Secret } from "../../lib/index.js";
import { bytePath, fsPath } from "../../linux/index.js";
import { FolderListing, resolveInRoot, selectedEntries } from "../../layer/index.js";
import type { Descriptor } from "../../content/index.js";
import type { Moved } from "../../progress/index.js";
import type { Credentials, CredentialSource } from "../../registry/index.js";
import type { FolderSelection, Session } from "../../session/index.js";
import { CredentialsRequestSchema, CredentialsResponseSchema } from "../gen/buildkit/auth_pb.js";
import {
  FindExportersRequestSchema,
  FindExportersResponseSchema,
  type ExporterRequest,
} from "../gen/buildkit/exporter_pb.js";
import { GetSecretRequestSchema, GetSecretResponseSchema } from "../gen/buildkit/secrets_pb.js";
import { CheckAgentRequestSchema, CheckAgentResponseSchema } from "../gen/buildkit/ssh_pb.js";
import type { Call, Channel } from "../grpc.js";
import { ClientStore } from "./client-store.js";
import { receiveFolder } from "./receive.js";
import { sendFolder } from "./send.js";
import { bytesMessage, bytesOf } from "./tunnel.js";

export interface RemoteSessionOptions {
  readonly id: string;
  /** see Session */
  readonly sharedKey: string;
  readonly channel: Channel;
  /** another session, which may be about to open; rejects if it does not */
  readonly find: (id: string, signal: AbortSignal) => Promise<RemoteSession>;
  /** methods that the client serves: "/moby.filesync.v1.FileSync/DiffCopy" */
  readonly methods: ReadonlySet<string>;
  readonly stateRoot: string;
  /** this process's own folder */
  readonly own: string;
}

export class RemoteSession implements Session, CredentialSource {
  readonly id: string;
  readonly sharedKey: string;
  readonly #options: RemoteSessionOptions;
  readonly #agents = new Map<string, Promise<Server | undefined>>();
  readonly #closed = new AbortController();

  constructor(options: RemoteSessionOptions) {
    this.id = options.id;
    this.sharedKey = options.sharedKey;
    // everything that is asked of the client listens to it
    setMaxListeners(0, this.#closed.signal);
    this.#options = options;
  }

  /** fires when the client has gone */
  get closed(): AbortSignal {
    return this.#closed.signal;
  }

  async named(id: string, signal: AbortSignal): Promise<RemoteSession> {
    return id === "" || id === this.id ? this : this.#options.find(id, signal).catch(() => this);
  }

  async takeFolder(
    name: string,
    selection: FolderSelection,
    target: string,
    moved: Moved,
    signal: AbortSignal,
  ): Promise<boolean> {
    return this.#receive(name, selection, join(this.#options.stateRoot, target), moved, signal);
  }

  async #receive(
    name: string,
    selection: FolderSelection,
    target: string,
    moved: Moved,
    signal: AbortSignal,
  ): Promise<boolean> {
    const metadata = {
      "dir-name": [name],
      ...encoded("include-patterns", selection.includePatterns),
      ...encoded("exclude-patterns", selection.excludePatterns),
      ...encoded("followpaths", selection.followPaths),
    };
    const path = "/moby.filesync.v1.FileSync/DiffCopy";
    if (!this.#serves(path)) throw new BuildError("LOCAL_MISSING", "no local sources enabled");
    const call = this.#options.channel.open(path, metadata, this.#during(signal));
    try {
      const { metadataExcept, previous: before, listing } = selection;
      const { stateRoot } = this.#options;
      const previous = before && {
        folder: bytePath(join(stateRoot, before.folder)),
        listing: FolderListing.read(join(stateRoot, before.listing)),
      };
      return await receiveFolder(call, bytePath(target), {
        moved,
        previous,
        listing: listing && join(stateRoot, listing),
        metadataExcept,
      });
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof BuildError) throw error;
      throw new BuildError("LOCAL_MISSING", rawMessage(error), { cause: error });
    }
  }

  async readFiles(
    name: string,
    paths: readonly string[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, Uint8Array>> {
    const folder = mkdtempSync(join(this.#options.own, "read-"));
    try {
      await this.#receive(
        name,
        { followPaths: paths, includePatterns: [], excludePatterns: [] },
        folder,
        () => undefined,
        signal,
      );
      const files = new Map<string, Uint8Array>();
      for (const path of paths) {
        const file = resolveInRoot(bytePath(folder), bytePath(path));
        const data = await readFile(fsPath(file)).catch(() => undefined);
        if (data) files.set(path, data);
      }
      return files;
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  async secret(id: string): Promise<Uint8Array | undefined> {
    const [path, during] = ["/moby.buildkit.secrets.v1.Secrets/GetSecret", this.#closed.signal];
    if (!this.#serves(path)) return undefined;
    try {
      const request = { ID: id };
      const answer = await this.#options.channel.unary(
        path,
        GetSecretRequestSchema,
        GetSecretResponseSchema,
        request,
        during,
      );
      return answer.data;
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  async agentSocket(id: string): Promise<string | undefined> {
    let running = this.#agents.get(id);
    if (!running) this.#agents.set(id, (running = this.#forwardAgent(id)));
    const server = await running;
    return server?.address() as string | undefined;
  }

  async #forwardAgent(id: string): Promise<Server | undefined> {
    const { channel, own } = this.#options;
    const path = "/moby.sshforward.v1.SSH/CheckAgent";
    if (!this.#serves(path)) return undefined;
    try {
      const during = this.#closed.signal;
      await channel.unary(path, CheckAgentRequestSchema, CheckAgentResponseSchema, { ID: id }, during);
    } catch (error) {
      if (error instanceof ConnectError) return undefined;
      throw error;
    }
    await mkdir(own, { recursive: true });
    const server = createServer((socket) => void this.#forward(id, socket));
    const folder = mkdtempSync(join(own, "agent-"));
    await new Promise<void>((resolve) => server.listen(join(folder, "s"), resolve));
    return server.unref();
  }

  async #forward(id: string, socket: Socket): Promise<void> {
    socket.on("error", () => undefined);
    try {
      const metadata = { "buildkit.ssh.id": [id] };
      const call = this.#options.channel.open(
        "/moby.sshforward.v1.SSH/ForwardAgent",
        metadata,
        this.#closed.signal,
      );
      socket.on("data", (data: Buffer) => void call.send(bytesMessage(data)));
      socket.on("end", () => call.end());
      socket.on("close", () => call.end());
      await call.read((message) => void socket.write(bytesOf(message)));
    } catch {
      // the agent is asked again, or its user fails
    }
    socket.end();
  }

  async credentials(domain: string): Promise<Credentials | undefined> {
    const request = { Host: domain === "docker.io" ? "registry-1.docker.io" : domain };
    const path = "/moby.filesync.v1.Auth/Credentials";
    if (!this.#serves(path)) return undefined;
    try {
      const { channel } = this.#options;
      const during = this.#closed.signal;
      const answer = await channel.unary(
        path,
        CredentialsRequestSchema,
        CredentialsResponseSchema,
        request,
        during,
      );
      if (answer.Username === "" && answer.Secret === "") return undefined;
      const secret = new Secret(answer.Secret);
      return answer.Username === ""
        ? { username: "", password: new Secret(""), identityToken: secret }
        : { username: answer.Username, password: secret };
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  /** Outputs that the client wants now that there is a result. @param refs the result's references */
  async findExporters(
    metadata: Readonly<Record<string, Uint8Array>>,
    refs: readonly string[],
    signal: AbortSignal,
  ): Promise<readonly ExporterRequest[]> {
    const path = "/moby.exporter.v1.Exporter/FindExporters";
    if (!this.#serves(path)) return [];
    const request = { metadata: { ...metadata }, refs: [...refs] };
    const schemas = [FindExportersRequestSchema, FindExportersResponseSchema] as const;
    const { exporters } = await this.#options.channel.unary(path, ...schemas, request, this.#during(signal));
    return exporters;
  }

  /** Sends a folder to where the client wants an output. @param exporter which of the build's outputs */
  async sendFolder(
    folder: string,
    exporter: string,
    moved: (bytes: number) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const call = this.#openOutput(exporter, {}, signal);
    const everything = { followPaths: [], includePatterns: [], excludePatterns: [] };
    const root = bytePath(folder);
    await sendFolder(call, root, selectedEntries(root, everything), { asContext: false, moved });
  }

  /** @param metadata what the client is told of the output */
  async sendFile(
    content: Readable,
    exporter: string,
    metadata: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<void> {
    const call = this.#openOutput(exporter, metadata, signal);
    const answered = call.read(() => undefined);
    // a client that has it already, or wants it for its metadata alone, takes nothing; it is made nevertheless
    let isWanted = true;
    const ended = answered.catch((error: unknown) => {
      if (!(error instanceof ConnectError) || error.code !== Code.AlreadyExists) throw error;
      isWanted = false;
    });
    ended.catch((error: unknown) => content.destroy(error as Error));
    for await (const chunk of content as AsyncIterable<Buffer>)
      if (isWanted) await call.send(bytesMessage(chunk)).catch(() => ended);
    call.end();
    await ended;
  }

  #openOutput(exporter: string, about: Readonly<Record<string, string>>, signal: AbortSignal) {
    const metadata: Record<string, string[]> = { "buildkit-attachable-exporter-id": [exporter] };
    for (const [key, value] of Object.entries(about)) metadata[`exporter-md-${key.toLowerCase()}`] = [value];
    return this.#open("/moby.filesync.v1.FileSend/DiffCopy", metadata, signal);
  }

  /** Blobs that the client keeps. @param tagged see ClientStore @throws ConnectError if it serves none */
  store(id: string, signal: AbortSignal, tagged: (descriptor: Descriptor) => void): ClientStore {
    this.#checkServes("/containerd.services.content.v1.Content/Read");
    return new ClientStore(this.#options.channel, id, this.#during(signal), tagged);
  }

  /** What the client uploads under a path: a context or Dockerfile from its standard input. */
  async *upload(path: string, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const call = this.#open("/moby.upload.v1.Upload/Pull", { urlpath: [path] }, signal);
    const chunks: Buffer[] = [];
    call.end();
    await call.read((message) => void chunks.push(bytesOf(message)));
    yield* chunks;
  }

  /** @throws ConnectError if the client does not serve the method */
  #open(path: string, metadata: Readonly<Record<string, readonly string[]>>, signal: AbortSignal): Call {
    this.#checkServes(path);
    return this.#options.channel.open(path, metadata, this.#during(signal));
  }

  /** @throws ConnectError */
  #checkServes(path: string): void {
    if (!this.#serves(path))
      throw new ConnectError(`method ${path} not supported by the client`, Code.Unimplemented);
  }

  /** A client that says what it serves is not asked for anything else: it might never answer. */
  #serves(path: string): boolean {
    return this.#options.methods.has(path);
  }

  #during(signal: AbortSignal): AbortSignal {
    return AbortSignal.any([signal, this.#closed.signal]);
  }

  close(): void {
    this.#closed.abort(new BuildError("CLIENT_GONE", "the client has gone"));
    for (const server of this.#agents.values()) void server.then((one) => one?.close());
  }
}

/** Values with other than ASCII characters go escaped, with a word that says so. */
function encoded(key: string, values: readonly string[]): Record<string, string[]> {
  if (values.length === 0) return {};

  if (values.every((value) => /^[\x20-\x7e]*$/.test(value))) return { [key]: [...values] };
  return { [key]: values.map((value) => encodeURIComponent(value)), [`${key}-encoded`]: ["1"] };
}

function isMissing(error: unknown): boolean {
  return error instanceof ConnectError && (error.code === Code.NotFound || error.code === Code.Unimplemented);
}

function rawMessage(error: unknown): string {
  return error instanceof ConnectError ? error.rawMessage : messageOf(error);
}
