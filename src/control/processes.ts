// The stream ExecProcess: processes of a frontend's containers, their input and output.
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { FrontendContainer, ProcessRequest } from "../builder/index.js";
import { enums } from "../llb/index.js";
import type { ProcessInput } from "../worker/index.js";
import { statusError, statusOf } from "./errors.js";
import {
  ExecMessageSchema,
  ExitMessageSchema,
  type ExecMessage,
  type InitMessage,
} from "./gen/buildkit/gateway_pb.js";

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

/** The exit code of a process of which it is not known, as BuildKit's clients expect it. */
const UNKNOWN_EXIT = 255;

/**
 * A process that asks for what is not there ends the whole stream with an error; one that fails in any other way has
 * started and ended.
 * @param containerOf @throws ConnectError for an id that is not known
 */
export async function* execProcesses(
  messages: AsyncIterable<ExecMessage>,
  containerOf: (id: string) => FrontendContainer,
): AsyncGenerator<ExecMessage> {
  const answers: ExecMessage[] = [];
  const inputs = new Map<string, Inputs>();
  let wake = (): void => undefined;
  let running = 0;
  let isRead = false;
  let refused: { readonly error: unknown } | undefined;
  const send = (ProcessID: string, Input: Answer): void => {
    answers.push(create(ExecMessageSchema, { ProcessID, Input }));
    wake();
  };
  const run = async (id: string, init: InitMessage): Promise<void> => {
    running++;
    try {
      const container = containerOf(init.ContainerID);
      let isStarted = false;
      const onStarted = (): void => {
        if (!isStarted) send(id, { case: "Started", value: {} });
        isStarted = true;
      };
      const process = processOf(id, init, send, (input) => inputs.get(id)!.open(input), onStarted);
      await container.check(process);
      // one that joins others counts as started at once: a client may wait for that before it reads what others write
      if (container.isTaken) onStarted();
      const exit = await exitOf(() => container.run(process));
      // one that could not be started has failed like any other
      onStarted();
      for (const Fd of [1, 2])
        if (init.Fds.includes(Fd)) send(id, { case: "File", value: { Fd, EOF: true } });
      send(id, { case: "Exit", value: exit });
      send(id, { case: "Done", value: {} });
    } catch (error) {
      refused ??= { error };
    }
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
      if (refused) throw statusError(refused.error);
      const answer = answers.shift();
      if (answer) yield answer;
      else await new Promise<void>((resolve) => (wake = resolve));
    }
  } finally {
    // nobody listens any more
    if (running > 0) for (const input of inputs.values()) input.give((one) => one.signal("SIGKILL"));
  }
}

async function exitOf(run: () => Promise<number>): Promise<MessageInitShape<typeof ExitMessageSchema>> {
  try {
    const code = await run();
    if (code === 0) return { Code: 0 };
    return { Code: code, Error: statusOf(new ConnectError(`exit code: ${code}`, Code.Unknown)) };
  } catch (error) {
    return { Code: UNKNOWN_EXIT, Error: statusOf(statusError(error)) };
  }
}

/** @throws ConnectError */
function processOf(
  id: string,
  { Meta, Tty, Security, secretenv, Fds }: InitMessage,
  send: (id: string, answer: Answer) => void,
  onInput: (input: ProcessInput) => void,
  onStarted: () => void,
): ProcessRequest {
  if (!Meta || Meta.args.length === 0) throw new ConnectError("a process needs args", Code.InvalidArgument);
  return {
    args: Meta.args,
    env: Meta.env,
    cwd: Meta.cwd,
    user: Meta.user,
    security: enums.SECURITY_MODES[Security] === "INSECURE" ? "INSECURE" : "SANDBOX",
    hasTerminal: Tty,
    secretEnv: secretenv.map(({ ID, name, optional }) => ({ ID, name, optional })),
    onOutput: (Fd, Data) => {
      // clients expect to be told of its start first
      onStarted();
      if (Fds.includes(Fd)) send(id, { case: "File", value: { Fd, Data: Uint8Array.from(Data) } });
    },
    onInput: (input) => {
      onInput(input);
      if (!Fds.includes(0)) input.write(undefined);
    },
    onStarted,
  };
}
