// `bluekiln daemon`: BuildKit's API on sockets, until it is told to end.
import { spawn } from "node:child_process";
import { setMaxListeners } from "node:events";
import { Daemon } from "../control/index.js";
import { runInUserNamespace } from "../linux/index.js";
import { daemonSettings } from "./daemon-config.js";
import { plainFailure } from "./failure.js";
import { DAEMON_FLAGS, parseFlags } from "./flags.js";
import { DAEMON_HELP } from "./help.js";
import { VERSION } from "./version.js";

/** @returns the exit code */
export async function daemonCommand(args: readonly string[]): Promise<number> {
  let debug = false;
  try {
    // buildkitd takes one dash as well
    const flags = parseFlags(
      args.map((arg) => arg.replace(/^-(?=[a-z]{2})/, "--")),
      DAEMON_FLAGS,
    );
    debug = flags.bool("debug");
    if (flags.bool("help")) {
      process.stdout.write(DAEMON_HELP);
      return 0;
    }
    if (flags.bool("version")) {
      process.stdout.write(`bluekilnd ${VERSION}\n`);
      return 0;
    }
    if (process.getuid?.() !== 0) return await runInUserNamespace();
    const log = (text: string): void => void process.stderr.write(`${new Date().toISOString()} ${text}\n`);
    const { options, notes } = daemonSettings(flags, process.env, log);
    for (const note of notes) log(`warning: ${note}`);
    // many requests listen to the end of one thing: a client, the daemon; each stops when it ends
    setMaxListeners(0);
    const daemon = new Daemon(options);
    const ended = signaled();
    for (const address of await daemon.listen()) log(`running server on ${address}`);
    notifySystemd();
    await ended;
    log("stopping server");
    await daemon.close();
    return 0;
  } catch (error) {
    process.stderr.write(plainFailure(error, debug));
    return 1;
  }
}

/** Says that it is ready, where systemd waits for it. Node has no sockets of this kind; the command that comes with it has. */
function notifySystemd(): void {
  if (process.env["NOTIFY_SOCKET"] === undefined) return;
  spawn("systemd-notify", ["--ready"], { stdio: "ignore" }).on("error", () => undefined);
}

/** At the second signal the process ends at once. */
function signaled(): Promise<void> {
  return new Promise((resolve) => {
    let count = 0;
    const handler = (): void => {
      if (++count > 1) process.exit(130);
      resolve();
    };
    process.on("SIGINT", handler).on("SIGTERM", handler);
  });
}
