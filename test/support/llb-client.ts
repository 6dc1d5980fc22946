// A client that sends graphs itself, as buildctl and BuildKit's library do.
import { randomUUID } from "node:crypto";
import { connect as connectHttp2, createServer, type ClientHttp2Session } from "node:http2";
import { connect } from "node:net";
import { create, toBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { createClient, type CallOptions, type Client, type ConnectRouter } from "@connectrpc/connect";
import { connectNodeAdapter, createGrpcTransport } from "@connectrpc/connect-node";
import {
  Control,
  type BuildHistoryEvent,
  type BuildHistoryRequestSchema,
  type SolveRequestSchema,
  type SolveResponse,
  type StatusResponse,
} from "../../src/control/gen/buildkit/control_pb.js";
import {
  ExecMessageSchema,
  LLBBridge,
  type ResultSchema,
} from "../../src/control/gen/buildkit/gateway_pb.js";
import { DefinitionSchema, OpSchema, type Definition } from "../../src/control/gen/buildkit/ops_pb.js";
import type { RuleSchema } from "../../src/control/gen/buildkit/policy_pb.js";
import { TraceService } from "../../src/control/gen/opentelemetry/trace_pb.js";
import { TunnelSocket } from "../../src/control/session/tunnel.js";
import { digestOf } from "../../src/lib/index.js";

export interface Node {
  readonly graph: ReadonlyMap<string, Uint8Array>;
  readonly digest: string;
}
export interface Output {
  readonly node: Node;
  readonly index: number;
}
type OpInit = NonNullable<MessageInitShape<typeof OpSchema>["op"]>;

/** An op with its inputs; `undefined` where an input is used means scratch. */
export function op(body: OpInit, inputs: readonly Output[] = []): Node {
  const message = create(OpSchema, {
    op: body,
    inputs: inputs.map(({ node, index }) => ({ digest: node.digest, index: BigInt(index) })),
    platform: { Architecture: "amd64", OS: "linux" },
  });
  const bytes = toBinary(OpSchema, message);
  const digest = digestOf(bytes);
  const graph = new Map(inputs.flatMap(({ node }) => [...node.graph]));
  return { graph: graph.set(digest, bytes), digest };
}

export function definition({ node, index }: Output): Definition {
  const last = create(OpSchema, { inputs: [{ digest: node.digest, index: BigInt(index) }] });
  return create(DefinitionSchema, { def: [...node.graph.values(), toBinary(OpSchema, last)] });
}

export interface Gateway {
  readonly bridge: Client<typeof LLBBridge>;
  readonly headers: { readonly headers: Record<string, string> };
}

export class LlbClient {
  readonly control: Client<typeof Control>;
  readonly traces: Client<typeof TraceService>;
  readonly #bridge: Client<typeof LLBBridge>;
  readonly #session: ClientHttp2Session;
  readonly #id = randomUUID();

  /** @param serves what the session offers to the daemon: its methods, and who answers them */
  constructor(
    socket: string,
    serves?: { readonly methods: readonly string[]; readonly routes: (router: ConnectRouter) => void },
  ) {
    const options = { createConnection: () => connect(socket) };
    const transport = createGrpcTransport({ baseUrl: "http://daemon", nodeOptions: options });
    this.control = createClient(Control, transport);
    this.traces = createClient(TraceService, transport);
    this.#bridge = createClient(LLBBridge, transport);
    this.#session = connectHttp2("http://daemon", options);
    this.#session.on("error", () => undefined);
    const stream = this.#session.request({
      ":method": "POST",
      ":path": "/moby.buildkit.v1.Control/Session",
      "content-type": "application/grpc",
      "x-docker-expose-session-uuid": this.#id,
      ...(serves && { "x-docker-expose-session-grpc-method": [...serves.methods] }),
    });
    stream.on("error", () => undefined);
    if (!serves) {
      stream.resume();
      return;
    }
    const server = createServer(connectNodeAdapter({ routes: serves.routes }));
    server.on("session", (session) => session.on("error", () => undefined));
    server.emit("connection", new TunnelSocket(stream));
  }

  /** What a frontend of a build may ask. */
  bridge(ref: string): Pick<Gateway["bridge"], "readDir"> {
    const headers = { headers: { "buildkit-controlapi-buildid": ref } };
    return { readDir: (request) => this.#bridge.readDir(request, headers) };
  }

  close(): void {
    this.#session.destroy();
  }

  /** @param image pushed under this name */
  async solve(
    output: Output | undefined,
    image?: string,
    rules: readonly MessageInitShape<typeof RuleSchema>[] = [],
    options: CallOptions = {},
  ): Promise<SolveResponse> {
    return this.solveGraph(output ? definition(output) : create(DefinitionSchema, {}), image, rules, options);
  }

  async solveGraph(
    Definition: Definition,
    image?: string,
    rules: readonly MessageInitShape<typeof RuleSchema>[] = [],
    options: CallOptions = {},
  ): Promise<SolveResponse> {
    const request = {
      Ref: randomUUID(),
      Session: this.#id,
      Definition,
      Exporters: pushed(image),
      SourcePolicy: { rules: [...rules] },
    };
    return this.control.solve(request, options);
  }

  /** A build of this client's session. */
  build(request: MessageInitShape<typeof SolveRequestSchema>): Promise<SolveResponse> {
    return this.control.solve({ Ref: randomUUID(), ...request, Session: this.#id });
  }

  /**
   * A build whose frontend is `run`; what it returns is the result, or its id.
   * @param request pushed under this name, or more of the request
   */
  async gateway(
    run: (gateway: Gateway) => Promise<string | MessageInitShape<typeof ResultSchema>>,
    request: string | MessageInitShape<typeof SolveRequestSchema> = {},
  ): Promise<SolveResponse> {
    const own: MessageInitShape<typeof SolveRequestSchema> =
      typeof request === "string" ? { Exporters: pushed(request) } : request;
    const Ref = own.Ref ?? randomUUID();
    const headers = { headers: { "buildkit-controlapi-buildid": Ref } };
    const solved = this.control.solve({ ...own, Ref, Session: this.#id });
    solved.catch(() => undefined);
    try {
      const returned = await run({ bridge: this.#bridge, headers });
      const result =
        typeof returned === "string"
          ? { result: { case: "ref", value: { id: returned } } as const }
          : returned;
      await this.#bridge.return({ result }, headers);
    } catch (error) {
      await this.#bridge.return({ error: { code: 2, message: (error as Error).message } }, headers);
    }
    return solved;
  }

  /** Records of builds, the newest last. */
  async history(
    query: MessageInitShape<typeof BuildHistoryRequestSchema> = {},
  ): Promise<BuildHistoryEvent[]> {
    const events: BuildHistoryEvent[] = [];
    for await (const event of this.control.listenBuildHistory({ EarlyExit: true, ...query }))
      events.push(event);
    return events;
  }

  async status(Ref: string): Promise<StatusResponse[]> {
    const messages: StatusResponse[] = [];
    for await (const message of this.control.status({ Ref })) messages.push(message);
    return messages;
  }
}

function pushed(image: string | undefined) {
  return image === undefined ? [] : [{ Type: "image", Attrs: { name: image, push: "true" } }];
}

export interface ProcessEnd {
  readonly code: number;
  /** empty for one that ended well */
  readonly error: string;
  readonly out: string;
  readonly err: string;
}

/** A process in a container "c". */
export class Process {
  readonly ended: Promise<ProcessEnd>;
  readonly #queue: MessageInitShape<typeof ExecMessageSchema>[] = [];
  readonly #id: string;
  #wake = (): void => undefined;
  readonly #texts = ["", "", ""];
  isStarted = false;

  /** What it has shown so far. */
  get shown(): string {
    return this.#texts[1]!;
  }

  /** @param script `undefined`: a shell in front of a terminal */
  constructor(
    bridge: Gateway["bridge"],
    headers: Gateway["headers"],
    id: string,
    script: string | undefined,
  ) {
    this.#id = id;
    const args = script === undefined ? ["/bin/sh"] : ["/bin/sh", "-c", script];
    const Meta = { args, env: ["PATH=/bin", "PS1=> "], cwd: "/" };
    this.#send({
      case: "Init",
      value: { ContainerID: "c", Meta, Fds: [0, 1, 2], Tty: script === undefined },
    });
    this.ended = this.#run(bridge, headers);
  }

  #send(Input: Exclude<MessageInitShape<typeof ExecMessageSchema>["Input"], undefined>): void {
    this.#queue.push({ ProcessID: this.#id, Input });
    this.#wake();
  }

  write(text: string | undefined): void {
    const Data = text === undefined ? new Uint8Array() : new TextEncoder().encode(text);
    this.#send({ case: "File", value: { Fd: 0, Data, EOF: text === undefined } });
  }

  resize(Rows: number, Cols: number): void {
    this.#send({ case: "Resize", value: { Rows, Cols } });
  }

  signal(Name: string): void {
    this.#send({ case: "Signal", value: { Name } });
  }

  async #run(bridge: Gateway["bridge"], headers: Gateway["headers"]): Promise<ProcessEnd> {
    let isDone = false;
    const messages = async function* (this: Process) {
      while (!isDone) {
        const message = this.#queue.shift();
        if (message) yield message;
        else await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    };
    const texts = this.#texts;
    let code = -1;
    let error = "";
    for await (const { Input } of bridge.execProcess(messages.call(this), headers)) {
      // clients give up a process whose first message is another
      if (!this.isStarted && Input.case !== "Started") throw new Error(`${Input.case} before Started`);
      if (Input.case === "File")
        texts[Input.value.Fd] = texts[Input.value.Fd]! + new TextDecoder().decode(Input.value.Data);
      else if (Input.case === "Started") this.isStarted = true;
      else if (Input.case === "Exit") [code, error] = [Input.value.Code, Input.value.Error?.message ?? ""];
      else if (Input.case === "Done") {
        isDone = true;
        this.#wake();
      }
    }
    return { code, error, out: texts[1]!, err: texts[2]! };
  }
}
