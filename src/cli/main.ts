// The bluekiln command.
import { MAIN_HELP } from "./help.js";
import { VERSION } from "./version.js";

// what reads our output may stop reading, as `head` does
for (const stream of [process.stdout, process.stderr])
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
    process.exit(1);
  });

async function main(): Promise<number> {
  const [command, ...args] = process.argv.slice(2);
  switch (command) {
    case "build":
    case "b":
      return (await import("./build-command.js")).buildCommand(args);
    case "du":
      return (await import("./storage-commands.js")).duCommand(args);
    case "prune":
      return (await import("./storage-commands.js")).pruneCommand(args);
    case "doctor":
      return (await import("./storage-commands.js")).doctorCommand(args);
    case "daemon":
      return (await import("./daemon-command.js")).daemonCommand(args);
    case "version":
    case "--version":
    case "-v":
      process.stdout.write(`bluekiln ${VERSION}\n`);
      return 0;
    case undefined:
    case "help":
    case "--help":
    case "-h":
      process.stdout.write(MAIN_HELP);
      return 0;
    default:
      process.stderr.write(`ERROR: unknown command: bluekiln ${command}\n\n${MAIN_HELP}`);
      return 1;
  }
}

const code = await main();
process.exitCode = code;
// Kept connections and threads must not keep the command alive.
process.stdout.write("", () => process.stderr.write("", () => process.exit(code)));
