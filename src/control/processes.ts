// The stream ExecProcess: processes of a frontend's containers, their input and output.
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { FrontendContainer } from "../builder/index.js";
import { enums } from "../llb/index.js";
import type { ProcessInput } from "../worker/index.js";
import { statusError, statusOf } from "./errors.js";
import { ExecMessageSchema, type ExecMessage, type InitMessage } from "./gen/buildkit/gateway_pb.js";

type Answer = NonNullable<Exclude<MessageInitShape<typeof ExecMessageSchema>, ExecMessage>["Input"]>;

/** What goes to a process, from before it is there. */
class Inputs {
  readonly #early: ((input: ProcessInput) => void)[] = [];
  #input: ProcessInput | undefined;

  open(input: ProcessInput): void {
    this.#input = input;
    for (const give of this.#early.splice(0)) give(input);
  }

  give(give: (input: ProcessInput) => void): void {
    if (this.#input) give(this.#input);
    else this.#early.push(give);
  }
}

/** @param containerOf @throws ConnectError for an id that is not known */
export async function* execProcesses(
  messages: AsyncIterable<ExecMessage>,
  containerOf: (id: string) => FrontendContainer,
): AsyncGenerator<ExecMessage> {
  const answers: ExecMessage[] = [];
  const inputs = new Map<string, Inputs>();
  let wake = (): void => undefined;
  let running = 0;
  let isRead = false;
  const send = (ProcessID: string, Input: Answer): void => {
    answers.push(create(ExecMessageSchema, { ProcessID, Input }));
    wake();
  };
  const run = async (id: string, init: InitMessage): Promise<void> => {
    running++;
    const code = { Code: 0, Error: undefined as ReturnType<typeof statusOf> | undefined };
    try {
      code.Code = await start(id, init, containerOf(init.ContainerID), send, (input) =>
        inputs.get(id)!.open(input),
      );
    } catch (error) {
      code.Code = 1;
      code.Error = statusOf(statusError(error));
    }
    for (const Fd of [1, 2]) if (init.Fds.includes(Fd)) send(id, { case: "File", value: { Fd, EOF: true } });
    const { Code: exit, Error } = code;
    send(id, { case: "Exit", value: { Code: exit, ...(Error && { Error }) } });
    send(id, { case: "Done", value: {} });
    running--;
    wake();
  };
  const reading = (async (): Promise<void> => {
    for await (const { ProcessID, Input } of messages) {
      if (Input.case === "Init") {
        inputs.set(ProcessID, new Inputs());
        void run(ProcessID, Input.value);
      } else if (Input.case === "File" && Input.value.Fd === 0) {
        const { Data, EOF } = Input.value;
        inputs.get(ProcessID)?.give((input) => {
          if (Data.length > 0) input.write(Data);
          if (EOF) input.write(undefined);
        });
      } else if (Input.case === "Signal") {
        const { Name } = Input.value;
        inputs.get(ProcessID)?.give((input) => input.signal(Name));
      } else if (Input.case === "Resize") {
        const { Rows: rows, Cols: columns } = Input.value;
        inputs.get(ProcessID)?.give((input) => input.resize({ rows, columns }));
      }
    }
  })();
  reading
    .catch(() => undefined)
    .finally(() => {
      isRead = true;
      wake();
    });
  try {
    while (answers.length > 0 || running > 0 || !isRead) {
      const answer = answers.shift();
      if (answer) yield answer;
      else await new Promise<void>((resolve) => (wake = resolve));
    }
  } finally {
    // nobody listens any more
    if (running > 0) for (const input of inputs.values()) input.give((one) => one.signal("SIGKILL"));
  }
}

async function start(
  id: string,
  { Meta, Tty, Security, secretenv, Fds }: InitMessage,
  container: FrontendContainer,
  send: (id: string, answer: Answer) => void,
  onInput: (input: ProcessInput) => void,
): Promise<number> {
  if (!Meta || Meta.args.length === 0) throw new ConnectError("a process needs args", Code.InvalidArgument);
  const exit = container.run({
    args: Meta.args,
    env: Meta.env,
    cwd: Meta.cwd,
    user: Meta.user,
    security: enums.SECURITY_MODES[Security] === "INSECURE" ? "INSECURE" : "SANDBOX",
    hasTerminal: Tty,
    secretEnv: secretenv.map(({ ID, name, optional }) => ({ ID, name, optional })),
    onOutput: (Fd, Data) => {
      if (Fds.includes(Fd)) send(id, { case: "File", value: { Fd, Data: Uint8Array.from(Data) } });
    },
    onInput: (input) => {
      onInput(input);
      if (!Fds.includes(0)) input.write(undefined);
    },
    onStarted: () => send(id, { case: "Started", value: {} }),
  });
  return exit;
}
