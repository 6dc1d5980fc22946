// `bluekiln du`, `bluekiln prune` and `bluekiln doctor`: what the state folder holds, removing it, whether it is sound.
import { createInterface } from "node:readline/promises";
import { Engine, type Builder } from "../builder/index.js";
import { BuildError, formatBytes, parseBytes } from "../lib/index.js";
import { runInUserNamespace } from "../linux/index.js";
import type { PruneOptions, UsageRecord } from "../prune/index.js";
import { installSignals } from "./engine.js";
import { plainFailure } from "./failure.js";
import { DOCTOR_FLAGS, DU_FLAGS, parseFlags, PRUNE_FLAGS, type FlagSet, type ParsedFlags } from "./flags.js";
import { DOCTOR_HELP, DU_HELP, PRUNE_HELP } from "./help.js";
import { chooseBuilder, DEFAULT_BUILDER, openBuilder } from "./open-builder.js";
import { formatAge } from "./units.js";

const HERE = { driver: "embedded", name: DEFAULT_BUILDER } as const;

type Run = (builder: Builder, flags: ParsedFlags, signal: AbortSignal) => Promise<number>;

/** @returns the exit code */
export function duCommand(args: readonly string[]): Promise<number> {
  return command(args, DU_FLAGS, DU_HELP, async (builder, flags, signal) => {
    const records = await builder.diskUsage(flags.strings("filter"), signal);
    const verbose = flags.bool("verbose");
    if (!verbose && records.length > 0) process.stdout.write(HEADER);
    for (const record of records) process.stdout.write(verbose ? verboseText(record) : tableRow(record));
    const sum = (list: readonly UsageRecord[]): string =>
      formatBytes(list.reduce((total, { size }) => total + size, 0));
    process.stdout.write(`Reclaimable:\t${sum(records.filter(({ inUse }) => !inUse))}\n`);
    process.stdout.write(`Total:\t\t${sum(records)}\n`);
    return 0;
  });
}

/** @returns the exit code */
export function pruneCommand(args: readonly string[]): Promise<number> {
  return command(args, PRUNE_FLAGS, PRUNE_HELP, async (builder, flags, signal) => {
    const options = pruneOptions(flags);
    if (!flags.bool("force") && !(await confirmed(options.all))) return 0;
    const verbose = flags.bool("verbose");
    let total = 0;
    await builder.prune(
      options,
      (record) => {
        if (total === 0 && !verbose) process.stdout.write(HEADER);
        total += record.size;
        process.stdout.write(verbose ? verboseText(record) : tableRow(record));
      },
      signal,
    );
    process.stdout.write(`Total:\t${formatBytes(total)}\n`);
    return 0;
  });
}

/** @returns the exit code: 1 if something is wrong */
export function doctorCommand(args: readonly string[]): Promise<number> {
  return command(args, DOCTOR_FLAGS, DOCTOR_HELP, async (engine, flags) => {
    if (!(engine instanceof Engine))
      throw new BuildError(
        "FLAG_INVALID",
        "doctor looks at the state directory of this machine; use --builder default",
      );
    const report = await engine.check(flags.bool("contents"));
    const { layers, records, blobs, cacheMounts, problems, rubbish } = report;
    process.stdout.write(`state directory: ${engine.state.root}\n`);
    process.stdout.write(
      `${layers} layers, ${blobs} blobs, ${records} cache records, ${cacheMounts} cache mounts\n`,
    );
    for (const text of rubbish) process.stdout.write(`left over: ${text}\n`);
    for (const text of problems) process.stdout.write(`PROBLEM: ${text}\n`);
    const runtime = await engine.runtimeProblem();
    process.stdout.write(runtime === undefined ? "containers can be run\n" : `PROBLEM: ${runtime}\n`);
    const sound = problems.length === 0 && runtime === undefined;
    process.stdout.write(
      sound ? "no problems found\n" : "see above; deleting the state directory is always safe\n",
    );
    return sound ? 0 : 1;
  });
}

async function command(args: readonly string[], set: FlagSet, help: string, run: Run): Promise<number> {
  const debug = args.includes("--debug") || args.includes("-D");
  const controller = new AbortController();
  const stop = installSignals(controller, "Canceling...");
  let builder: Builder | undefined;
  try {
    const flags = parseFlags(args, set);
    if (flags.bool("help")) {
      process.stdout.write(help);
      return 0;
    }
    if (flags.positional.length > 0)
      throw new BuildError(
        "FLAG_INVALID",
        `this command accepts no arguments; got ${flags.positional.join(" ")}`,
      );
    const chosen = set === DOCTOR_FLAGS ? HERE : chooseBuilder(flags, process.env);
    if (chosen.driver === "embedded" && process.getuid?.() !== 0) return await runInUserNamespace();
    builder = await openBuilder(chosen, flags, process.env);
    return await run(builder, flags, controller.signal);
  } catch (error) {
    if (controller.signal.aborted) return 130;
    process.stderr.write(plainFailure(error, debug));
    return 1;
  } finally {
    stop();
    await builder?.close().catch(() => undefined);
  }
}

function pruneOptions(flags: ParsedFlags): PruneOptions {
  const bytes = (name: string): number => {
    const text = flags.string(name);
    if (text === "") return 0;
    const value = parseBytes(text);
    if (value === undefined)
      throw new BuildError(
        "FLAG_INVALID",
        `invalid argument "${text}" for "--${name}" flag: invalid size: '${text}'`,
      );
    return value;
  };
  return {
    all: flags.bool("all"),
    filters: flags.strings("filter"),
    keepDuration: 0,
    reservedSpace: bytes("reserved-space") || bytes("keep-storage"),
    maxUsedSpace: bytes("max-used-space"),
    minFreeSpace: bytes("min-free-space"),
  };
}

async function confirmed(all: boolean): Promise<boolean> {
  const what = all ? "all build cache" : "all dangling build cache";
  const lines = createInterface({ input: process.stdin });
  process.stdout.write(`WARNING! This will remove ${what}. Are you sure you want to continue? [y/N] `);
  try {
    for await (const line of lines) return /^y$/i.test(line.trim());
    return false;
  } finally {
    lines.close();
  }
}

const HEADER = "ID\t\t\t\t\t\tRECLAIMABLE\tSIZE\t\tLAST ACCESSED\n";

function tableRow({ id, mutable, inUse, size, lastUsedAt }: UsageRecord): string {
  const shown = `${id}${mutable ? "*" : ""}`.padEnd(40);
  const age = lastUsedAt === undefined ? "" : formatAge(Date.now() - lastUsedAt);
  return `${shown}\t${String(!inUse).padEnd(5)}\t\t${formatBytes(size).padEnd(10)}\t${age}\n`;
}

function verboseText(record: UsageRecord): string {
  const { id, parents, createdAt, mutable, inUse, size, description, usageCount, lastUsedAt, kind } = record;
  const time = new Date(createdAt).toISOString().replace("T", " ").replace("Z", " +0000 UTC");
  const lines = [
    `ID:\t\t${id}`,
    ...(parents.length === 1 ? [`Parent:\t\t${parents[0]}`] : []),
    ...(parents.length > 1 ? [`Parents:\t${parents.join(",")}`] : []),
    `Created at:\t${time}`,
    `Mutable:\t${mutable}`,
    `Reclaimable:\t${!inUse}`,
    "Shared:\t\tfalse",
    `Size:\t\t${formatBytes(size)}`,
    ...(description === "" ? [] : [`Description:\t${description}`]),
    `Usage count:\t${usageCount}`,
    ...(lastUsedAt === undefined ? [] : [`Last used:\t${formatAge(Date.now() - lastUsedAt)}`]),
    `Type:\t\t${kind}`,
  ];
  return `${lines.join("\n")}\n\n`;
}
