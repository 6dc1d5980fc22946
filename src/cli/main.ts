// The bluekiln command.
import { MAIN_HELP } from "./help.js";
import { VERSION } from "./version.js";

// what reads our output may stop reading, as `head` does
for (const stream of [process.stdout, process.stderr])
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
    process.exit(1);
  });

/** `docker bluekiln build`, and `docker buildx build` where it is linked as docker-buildx. */
const PLUGIN_NAMES = ["bluekiln", "buildx"];
const PLUGIN_METADATA = {
  SchemaVersion: "0.1.0",
  Vendor: "Bluekiln",
  Version: VERSION,
  ShortDescription: "Build images, their cache in Azure Blob Storage",
};

async function main(): Promise<number> {
  const given = process.argv.slice(2);
  // docker calls its plugins by their own name first
  const [command, ...args] = PLUGIN_NAMES.includes(given[0] ?? "") ? given.slice(1) : given;
  switch (command) {
    case "docker-cli-plugin-metadata":
      process.stdout.write(`${JSON.stringify(PLUGIN_METADATA)}\n`);
      return 0;
    case "build":
    case "b":
      return (await import("./build-command.js")).buildCommand(args);
    case "du":
      return (await import("./storage-commands.js")).duCommand(args);
    case "prune":
      return (await import("./storage-commands.js")).pruneCommand(args);
    case "create":
      return (await import("./builder-commands.js")).createCommand(args);
    case "use":
      return (await import("./builder-commands.js")).useCommand(args);
    case "ls":
      return (await import("./builder-commands.js")).lsCommand(args);
    case "inspect":
      return (await import("./builder-commands.js")).inspectCommand(args);
    case "rm":
      return (await import("./builder-commands.js")).rmCommand(args);
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
