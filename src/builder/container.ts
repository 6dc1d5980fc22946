// A container that a frontend asks for: results as its mounts, processes in it as it likes. What they write is lost.
import type { NetMode, SecurityMode } from "../llb/index.js";
import { ExecMounts, ExitError, secretVariables, type OpContext } from "../op/index.js";
import type { Mount, SecretEnv } from "../llb/index.js";
import { BuildError, defaultPath } from "../lib/index.js";
import type { ProcessInput } from "../worker/index.js";
import type { RefResult } from "../cache/index.js";
import type { Solution } from "./job.js";

export interface ContainerRequest {
  /** inputs are indexes into `results` */
  readonly mounts: readonly Mount[];
  readonly results: readonly (Solution | RefResult | undefined)[];
  readonly network: NetMode;
  /** of the platform it is for: what programs are looked for in */
  readonly os: string;
  readonly hostname: string;
  readonly extraHosts: readonly { readonly Host: string; readonly IP: string }[];
}

export interface ProcessRequest {
  readonly args: readonly string[];
  readonly env: readonly string[];
  readonly cwd: string;
  readonly user: string;
  readonly security: SecurityMode;
  readonly secretEnv: readonly SecretEnv[];
  readonly hasTerminal?: boolean;
  readonly onOutput: (stream: 1 | 2, chunk: Uint8Array) => void;
  readonly onInput: (input: ProcessInput) => void;
  readonly onStarted: () => void;
}

export class FrontendContainer {
  readonly #context: OpContext;
  readonly #request: ContainerRequest;
  readonly #id: string;
  readonly #released = new AbortController();
  readonly #signal: AbortSignal;
  #first: Promise<unknown> | undefined;
  readonly #processes: Promise<unknown>[] = [];
  /** of the first process that failed */
  #failure: Error | undefined;
  /** the first process runs, or has ended */
  #isUp: Promise<void> | undefined;

  constructor(context: OpContext, request: ContainerRequest, signal: AbortSignal) {
    this.#context = context;
    this.#request = request;
    this.#id = context.containerId();
    this.#signal = AbortSignal.any([signal, this.#released.signal]);
  }

  /** It has had a process: the next ones join it. */
  get isTaken(): boolean {
    return this.#first !== undefined;
  }

  /** Whether there is what a process asks for. @throws BuildError SECRET_* */
  async check({ secretEnv }: Pick<ProcessRequest, "secretEnv">): Promise<void> {
    await secretVariables(this.#context, secretEnv);
  }

  /** The first process is the container; the others run in it, as long as it does. @returns its exit code */
  async run(process: ProcessRequest): Promise<number> {
    const running = this.#run(process).then(
      (exitCode) => {
        if (exitCode !== 0) this.#failure ??= new ExitError(`exit code: ${exitCode}`, exitCode);
        return exitCode;
      },
      (error: unknown) => {
        this.#failure ??= error as Error;
        throw error;
      },
    );
    this.#processes.push(running);
    return running;
  }

  async #run(process: ProcessRequest): Promise<number> {
    if (!this.#first) {
      let up = (): void => undefined;
      this.#isUp = new Promise((resolve) => (up = resolve));
      const onStarted = (): void => {
        up();
        process.onStarted();
      };
      const own = this.#start({ ...process, onStarted });
      this.#first = own.catch(() => undefined).finally(up);
      return own;
    }
    await this.#isUp;
    const { worker } = this.#context;
    const { args, cwd, user, hasTerminal = false, ...listeners } = process;
    const env = await this.#env(process);
    const task = { container: this.#id, args, env, cwd: cwd || "/", user, hasTerminal };
    const { exitCode } = await worker.perform("exec", task, this.#signal, listeners);
    return exitCode;
  }

  async #env({ env, secretEnv, hasTerminal }: ProcessRequest): Promise<readonly string[]> {
    const has = (name: string): boolean => env.some((entry) => entry.startsWith(`${name}=`));
    return [
      ...env,
      ...(has("PATH") ? [] : [`PATH=${defaultPath(this.#request.os)}`]),
      ...(hasTerminal !== true || has("TERM") ? [] : ["TERM=xterm"]),
      ...(await secretVariables(this.#context, secretEnv)),
    ];
  }

  async #start(process: ProcessRequest): Promise<number> {
    const { worker, runtime, entitlements } = this.#context;
    const { mounts, results, network, hostname, extraHosts } = this.#request;
    if (process.security === "INSECURE" && !entitlements.has("security.insecure"))
      throw new BuildError("NOT_ALLOWED", "security.insecure is not allowed");
    if (network === "HOST" && !entitlements.has("network.host"))
      throw new BuildError("NOT_ALLOWED", "network.host is not allowed");
    const prepared = new ExecMounts(this.#context, mounts, "/", "container of a frontend");
    try {
      const refs = await Promise.all(
        results.map(async (result) =>
          result && "solver" in result
            ? result.solver.solve([result.edge], async ([value]) => value!.ref)
            : result?.ref,
        ),
      );
      const { target, readonlyRoot, others } = await prepared.prepare(refs, this.#signal);
      const { exitCode } = await worker.perform(
        "run",
        {
          id: this.#id,
          target,
          readonlyRoot,
          isInteractive: true,
          hasTerminal: process.hasTerminal ?? false,
          args: process.args,
          env: await this.#env(process),
          cwd: process.cwd || "/",
          user: process.user,
          mounts: others,
          hostname,
          extraHosts,
          network: network === "NONE" ? "none" : "host",
          privileged: process.security === "INSECURE",
          ulimits: [],
          runtime: { command: runtime, cgroups: false },
          dns: this.#context.dns,
          cgroupParent: "",
          edits: { mounts: [], env: [], devices: [], hooks: [], additionalGids: [] },
        },
        this.#signal,
        process,
      );
      return exitCode;
    } finally {
      await prepared.release();
    }
  }

  /** Ends what runs in it. @throws what the first process failed with that did: being ended is that too */
  async release(): Promise<void> {
    this.#released.abort(new BuildError("CANCELED", "context canceled"));
    await Promise.allSettled(this.#processes);
    if (this.#failure) throw this.#failure;
  }
}
