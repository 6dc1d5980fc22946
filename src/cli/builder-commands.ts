// `bluekiln create`, `use`, `ls`, `inspect` and `rm`: the builders that builds can run in, as docker buildx has them.
import { createInterface } from "node:readline/promises";
import { randomBytes } from "node:crypto";
import type { BuilderInfo } from "../builder/index.js";
import { formatPlatform, parsePlatform } from "../frontend/index.js";
import { ociPlatform } from "../llb/index.js";
import { BuildError, messageOf, parseCsv } from "../lib/index.js";
import { runInUserNamespace } from "../linux/index.js";
import { BuilderStore, checkedName, type BuilderInstance, type BuilderNode } from "./builder-store.js";
import { plainFailure } from "./failure.js";
import {
  CREATE_FLAGS,
  INSPECT_FLAGS,
  LS_FLAGS,
  parseFlags,
  RM_FLAGS,
  USE_FLAGS,
  type FlagSet,
  type ParsedFlags,
} from "./flags.js";
import { CREATE_HELP, INSPECT_HELP, LS_HELP, RM_HELP, USE_HELP } from "./help.js";
import { checkDriver, chosen, DEFAULT_BUILDER, nodeAt, openBuilder } from "./open-builder.js";

const DRIVER_OPTIONS = ["cacert", "cert", "key", "servername", "default-load"];
const ENDPOINT = /^(unix|tcp):\/\/./;

/** @returns the exit code */
export function createCommand(args: readonly string[]): Promise<number> {
  return command(args, CREATE_FLAGS, CREATE_HELP, async (flags, store) => {
    const [endpoint, ...more] = flags.positional;
    if (more.length > 0)
      throw new BuildError("FLAG_INVALID", "'bluekiln create' requires at most 1 argument");
    for (const name of ["append", "leave"])
      if (flags.bool(name))
        throw new BuildError("FLAG_INVALID", `--${name}: builders of several nodes are not supported yet`);
    checkDriver(
      flags.string("driver") || (endpoint && ENDPOINT.test(endpoint) ? "remote" : "docker-container"),
    );
    if (endpoint === undefined) throw new BuildError("FLAG_INVALID", "no remote endpoint provided");
    if (!ENDPOINT.test(endpoint)) {
      const [, scheme] = /^([a-z]+):/.exec(endpoint) ?? [];
      const problem = scheme ? `unrecognized url scheme ${scheme}` : `invalid endpoint ${endpoint}`;
      throw new BuildError("FLAG_INVALID", `${problem}; use unix://PATH or tcp://HOST:PORT`);
    }
    const name = flags.string("name") || `builder_${randomBytes(4).toString("hex")}`;
    if (checkedName(name) === DEFAULT_BUILDER)
      throw new BuildError(
        "BUILDER_INVALID",
        "default is a reserved name and cannot be used to identify builder instance",
      );
    const platforms = flags.strings("platform").flatMap((text) => text.split(","));
    const options = driverOptions(flags.strings("driver-opt"));
    const node: BuilderNode = {
      Name: flags.string("node") || `${name.toLowerCase()}0`,
      Endpoint: endpoint,
      Platforms: platforms.length === 0 ? null : platforms.map((text) => ociPlatform(parsePlatform(text))),
      DriverOpts: Object.keys(options).length === 0 ? null : options,
      Flags: null,
      Files: null,
    };
    const instance = { Name: name, Driver: "remote", Nodes: [node], Dynamic: false };
    if (flags.bool("bootstrap")) await (await openBuilder(chosen(instance), flags, process.env)).close();
    await store.create(instance);
    if (flags.bool("use")) await store.use(name);
    process.stdout.write(`${name}\n`);
    return 0;
  });
}

/** @throws BuildError FLAG_INVALID */
function driverOptions(list: readonly string[]): Record<string, string> {
  const options: Record<string, string> = {};
  for (const field of list.flatMap((text) => parseCsv(text))) {
    const [key, value] = field.split(/=(.*)/s) as [string, string | undefined];
    if (!DRIVER_OPTIONS.includes(key) || value === undefined)
      throw new BuildError("FLAG_INVALID", `invalid driver option ${field} for remote driver`);
    options[key] = value;
  }
  return options;
}

/** @returns the exit code */
export function useCommand(args: readonly string[]): Promise<number> {
  return command(args, USE_FLAGS, USE_HELP, async (flags, store) => {
    const name = flags.positional[0] || flags.string("builder");
    if (name === "" || flags.positional.length > 1)
      throw new BuildError("FLAG_INVALID", "'bluekiln use' requires 1 argument: the name of a builder");
    const instance = name === DEFAULT_BUILDER ? undefined : known(store, name);
    const how = { isDefault: flags.bool("default"), isGlobal: flags.bool("global") };
    await store.use(instance?.Name ?? "", how);
    return 0;
  });
}

function known(store: BuilderStore, name: string): BuilderInstance {
  const instance = store.get(name);
  if (!instance) throw new BuildError("BUILDER_UNKNOWN", `no builder "${name}" found`);
  return instance;
}

/** How a node is. */
interface NodeState {
  readonly status: "running" | "inactive" | "unsupported";
  readonly info: BuilderInfo | undefined;
  readonly problem?: string;
}

const ASKED = new AbortController().signal;

async function stateOf(instance: BuilderInstance, flags: ParsedFlags): Promise<NodeState> {
  if (instance.Driver !== "remote" || instance.Nodes.length !== 1)
    return { status: "unsupported", info: undefined };
  try {
    const builder = await openBuilder(chosen(instance), flags, process.env);
    try {
      return { status: "running", info: await builder.info(ASKED) };
    } finally {
      await builder.close();
    }
  } catch (error) {
    return { status: "inactive", info: undefined, problem: messageOf(error) };
  }
}

/** @returns the exit code */
export function lsCommand(args: readonly string[]): Promise<number> {
  return command(args, LS_FLAGS, LS_HELP, async (flags, store) => {
    const format = flags.string("format") || "table";
    if (format !== "table" && format !== "json")
      throw new BuildError("FLAG_INVALID", `--format: "${format}" is not supported; use table or json`);
    if (flags.positional.length > 0)
      throw new BuildError("FLAG_INVALID", "'bluekiln ls' accepts no arguments");
    const current = store.current()?.Name ?? DEFAULT_BUILDER;
    const instances = store.list();
    const states = await Promise.all(instances.map((instance) => stateOf(instance, flags)));
    if (format === "json") {
      for (const [i, instance] of instances.entries())
        process.stdout.write(`${JSON.stringify(instanceJson(instance, states[i]!, store, current))}\n`);
      process.stdout.write(
        `${JSON.stringify({ Current: current === DEFAULT_BUILDER, Driver: "embedded", Name: DEFAULT_BUILDER })}\n`,
      );
      return 0;
    }
    const rows = [["NAME/NODE", "DRIVER/ENDPOINT", "STATUS", "BUILDKIT", "PLATFORMS"]];
    const mark = (name: string): string => `${name}${name === current ? "*" : ""}`;
    for (const [i, { Name, Driver, Nodes }] of instances.entries()) {
      const { status, info } = states[i]!;
      rows.push([mark(Name), Driver, "", "", ""]);
      for (const node of Nodes) {
        const shown = platformsOf(node, info, flags.bool("no-trunc"));
        rows.push([` \\_ ${node.Name}`, ` \\_ ${node.Endpoint}`, status, info?.version ?? "", shown]);
      }
    }
    rows.push([mark(DEFAULT_BUILDER), "embedded", "running", "", ""]);
    process.stdout.write(table(rows));
    return 0;
  });
}

/** How many platforms a table shows. */
const SHOWN_PLATFORMS = 4;

/** Those it was created with are marked, as buildx marks them. */
function platformsOf({ Platforms }: BuilderNode, info: BuilderInfo | undefined, all: boolean): string {
  const own = (Platforms ?? []).map(({ os, architecture }) => `${os}/${architecture}`);
  const found = (info?.workers ?? []).flatMap(({ platforms }) => platforms.map(formatPlatform));
  const unique = [...own.map((one) => `${one}*`), ...new Set(found.filter((one) => !own.includes(one)))];
  if (all || unique.length <= SHOWN_PLATFORMS) return unique.join(", ");
  return `${unique.slice(0, SHOWN_PLATFORMS).join(", ")}, (+${unique.length - SHOWN_PLATFORMS} more)`;
}

function instanceJson(
  { Name, Driver, Nodes, Dynamic }: BuilderInstance,
  { status, info, problem }: NodeState,
  store: BuilderStore,
  current: string,
): object {
  const workers = info?.workers ?? [];
  return {
    Current: Name === current,
    Driver,
    Dynamic,
    LastActivity: store.activity(Name)?.toISOString(),
    Name,
    Nodes: Nodes.map((node) => ({
      Endpoint: node.Endpoint,
      ...(problem !== undefined && { Err: problem }),
      ...(info && {
        IDs: workers.map(({ id }) => id),
        Labels: workers[0]?.labels,
        Platforms: workers.flatMap(({ platforms }) => platforms.map(formatPlatform)),
        Version: info.version,
      }),
      Name: node.Name,
      Status: status,
    })),
  };
}

/** Columns as wide as their widest cell, and three. */
function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)) + 3);
  return rows
    .map((row) => `${row.map((cell, i) => (i < row.length - 1 ? cell.padEnd(widths[i]!) : cell)).join("")}\n`)
    .join("");
}

/** @returns the exit code */
export function inspectCommand(args: readonly string[]): Promise<number> {
  return command(args, INSPECT_FLAGS, INSPECT_HELP, async (flags, store) => {
    if (flags.positional.length > 1)
      throw new BuildError("FLAG_INVALID", "'bluekiln inspect' requires at most 1 argument");
    const name = flags.positional[0] || flags.string("builder") || store.current()?.Name || DEFAULT_BUILDER;
    if (name === DEFAULT_BUILDER) {
      if (process.getuid?.() !== 0) return runInUserNamespace();
      const builder = await openBuilder({ driver: "embedded", name }, flags, process.env);
      const info = await builder.info(ASKED);
      await builder.close();
      const lines = [
        ["Name:", name],
        ["Driver:", "embedded"],
      ];
      process.stdout.write(`${aligned(lines)}\nNodes:\n${nodeText({ Name: name }, "running", info)}`);
      return 0;
    }
    const instance = name.includes("://") ? instanceAt(name) : known(store, name);
    const state = await stateOf(instance, flags);
    const used = store.activity(instance.Name);
    const lines = [
      ["Name:", instance.Name],
      ["Driver:", instance.Driver],
      ...(used ? [["Last Activity:", goTime(used)]] : []),
    ];
    process.stdout.write(`${aligned(lines)}\nNodes:\n`);
    process.stdout.write(
      instance.Nodes.map((node) => nodeText(node, state.status, state.info, state.problem)).join("\n"),
    );
    return 0;
  });
}

function instanceAt(address: string): BuilderInstance {
  return { Name: address, Driver: "remote", Nodes: [nodeAt(address)], Dynamic: false };
}

function nodeText(
  node: Pick<BuilderNode, "Name"> & Partial<BuilderNode>,
  status: NodeState["status"],
  info: BuilderInfo | undefined,
  problem?: string,
): string {
  const options = Object.entries(node.DriverOpts ?? {}).map(([key, value]) => `${key}="${value}"`);
  const [worker] = info?.workers ?? [];
  const platforms = (worker?.platforms ?? []).map(formatPlatform).join(", ");
  const lines = [
    ["Name:", node.Name],
    ...(node.Endpoint === undefined ? [] : [["Endpoint:", node.Endpoint]]),
    ...(options.length > 0 ? [["Driver Options:", options.join(" ")]] : []),
    ["Status:", status],
    ...(problem === undefined ? [] : [["Error:", problem]]),
    ...(info && info.version !== "" ? [["BuildKit version:", info.version]] : []),
    ...(platforms === "" ? [] : [["Platforms:", platforms]]),
  ];
  const labels = Object.entries(worker?.labels ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  if (labels.length === 0) return aligned(lines);
  const shown = aligned(labels.map(([key, value]) => [` ${key}:`, value]));
  return `${aligned(lines)}Labels:\n${shown}`;
}

function aligned(lines: readonly (readonly string[])[]): string {
  const width = Math.max(...lines.map(([key]) => key!.length)) + 1;
  return lines.map(([key, value]) => `${key!.padEnd(width)}${value}\n`).join("");
}

function goTime(date: Date): string {
  return `${date.toISOString().slice(0, 19).replace("T", " ")} +0000 UTC`;
}

/** @returns the exit code */
export function rmCommand(args: readonly string[]): Promise<number> {
  return command(args, RM_FLAGS, RM_HELP, async (flags, store) => {
    const all = flags.bool("all-inactive");
    if (all && flags.positional.length > 0)
      throw new BuildError("FLAG_INVALID", "cannot specify builder name when --all-inactive is set");
    if (all && !flags.bool("force") && !(await isConfirmed())) return 0;
    const names = all ? await inactive(store, flags) : namesFor(flags, store);
    let failed = false;
    for (const name of names) {
      try {
        if (name === DEFAULT_BUILDER) throw new BuildError("BUILDER_INVALID", "default cannot be removed");
        await store.remove(known(store, name).Name);
        process.stderr.write(`${name} removed\n`);
      } catch (error) {
        failed = true;
        process.stderr.write(`failed to remove ${name}: ${messageOf(error)}\n`);
      }
    }
    if (failed) throw new BuildError("BUILDER_UNKNOWN", "failed to remove one or more builders");
    return 0;
  });
}

function namesFor(flags: ParsedFlags, store: BuilderStore): readonly string[] {
  if (flags.positional.length > 0) return flags.positional;
  return [
    flags.string("builder") || process.env["BUILDX_BUILDER"] || store.current()?.Name || DEFAULT_BUILDER,
  ];
}

async function inactive(store: BuilderStore, flags: ParsedFlags): Promise<readonly string[]> {
  const instances = store.list();
  const states = await Promise.all(instances.map((instance) => stateOf(instance, flags)));
  return instances.filter((_, i) => states[i]!.status === "inactive").map(({ Name }) => Name);
}

async function isConfirmed(): Promise<boolean> {
  const lines = createInterface({ input: process.stdin });
  process.stdout.write(
    "WARNING! This will remove all builders that are not in running state. Are you sure you want to continue? [y/N] ",
  );
  try {
    for await (const line of lines) return /^y$/i.test(line.trim());
    process.stdout.write("\n");
    return false;
  } finally {
    lines.close();
  }
}

async function command(
  args: readonly string[],
  set: FlagSet,
  help: string,
  run: (flags: ParsedFlags, store: BuilderStore) => Promise<number>,
): Promise<number> {
  const debug = args.includes("--debug") || args.includes("-D");
  try {
    const flags = parseFlags(args, set);
    if (flags.bool("help")) {
      process.stdout.write(help);
      return 0;
    }
    return await run(flags, new BuilderStore(process.env));
  } catch (error) {
    process.stderr.write(plainFailure(error, debug));
    return 1;
  }
}
