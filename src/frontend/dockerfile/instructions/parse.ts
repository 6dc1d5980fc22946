// Nodes to typed instructions and stages, with the checks that need no variables.
import { SourceError } from "../source-error.js";
import { goQuote, parseHeredoc, type Heredoc, type Node } from "../parser/index.js";
import { parseDuration } from "./duration.js";
import { readFlags } from "./flags.js";
import { checkMount } from "./mount.js";
import { suggest } from "./suggest.js";
import type { CopyFlags, DockerfileTree, Healthcheck, Instruction, InstructionOf, Stage } from "./types.js";

const KEYWORDS = [
  "ADD",
  "ARG",
  "CMD",
  "COPY",
  "ENTRYPOINT",
  "ENV",
  "EXPOSE",
  "FROM",
  "HEALTHCHECK",
  "LABEL",
  "MAINTAINER",
  "ONBUILD",
  "RUN",
  "SHELL",
  "STOPSIGNAL",
  "USER",
  "VOLUME",
  "WORKDIR",
];
const STAGE_NAME = /^[a-z][a-z0-9-_.]*$/;

/**
 * @param onNode sees each node before it is parsed
 * @throws SourceError
 */
export function parseStages(
  nodes: readonly Node[],
  onNode: (node: Node) => void = () => undefined,
): DockerfileTree {
  const metaArgs: InstructionOf<"ARG">[] = [];
  const stages: { stage: Stage; commands: Instruction[] }[] = [];
  for (const node of nodes) {
    onNode(node);
    if (node.keyword.toUpperCase() === "FROM") {
      const commands: Instruction[] = [];
      stages.push({ commands, stage: { ...located(node, () => parseFrom(node)), commands } });
      continue;
    }
    const instruction = parseInstruction(node);
    const current = stages[stages.length - 1];
    if (current) current.commands.push(instruction);
    else if (instruction.kind === "ARG") metaArgs.push(instruction);
    else throw new SourceError("no build stage in current context", [[node.range]]);
  }
  return { metaArgs, stages: stages.map(({ stage }) => stage) };
}

/** @throws SourceError */
function parseInstruction(node: Node): Instruction {
  return located(node, () => parse(node, false));
}

/** An instruction behind an image's or stage's ONBUILD. @throws Error without a line: it stands in no file */
export function parseTrigger(node: Node): Instruction {
  return parse(node, true);
}

function located<T>(node: Node, task: () => T): T {
  try {
    return task();
  } catch (error) {
    if (error instanceof SourceError) throw error;
    const message = `dockerfile parse error on line ${node.range.start.line}: ${(error as Error).message}`;
    throw new SourceError(message, [[node.range]], error);
  }
}

function parseFrom(node: Node): Omit<Stage, "commands"> {
  const flags = readFlags(node.flags, { platform: "string" });
  const { args } = node;
  let name = "";
  if (args.length === 3 && args[1]!.toUpperCase() === "AS") {
    name = args[2]!.toLowerCase();
    if (!STAGE_NAME.test(name)) {
      throw new Error(
        `invalid name for build stage: ${goQuote(args[2]!)}, name can't start with a number or contain symbols`,
      );
    }
  } else if (args.length !== 1) throw new Error("FROM requires either one or three arguments");
  const { original, range, comments } = node;
  return {
    name,
    originalName: args[2] ?? "",
    baseName: args[0]!,
    platform: flags.string("platform"),
    sourceCode: original.trim(),
    range,
    comments,
  };
}

function parse(node: Node, fromOnbuild: boolean): Instruction {
  const { range, comments, args } = node;
  const common = { original: node.original.trim(), range, comments, fromOnbuild };
  const kind = node.keyword.toUpperCase();
  switch (kind) {
    case "ENV":
    case "LABEL": {
      readFlags(node.flags, {});
      if (args.length === 0) throw atLeastOne(kind);
      const pairs = [];
      for (let i = 0; i + 2 < args.length; i += 3) {
        if (args[i] === "") throw new Error(`${kind} names can not be blank`);
        pairs.push({ key: args[i]!, value: args[i + 1]!, noDelimiter: args[i + 2] === "" });
      }
      return { ...common, kind, pairs };
    }
    case "MAINTAINER":
      if (args.length !== 1) throw exactlyOne(kind);
      return { ...common, kind, maintainer: args[0]! };
    case "ADD":
    case "COPY":
      return parseCopy(node, kind, common);
    case "ONBUILD":
      return { ...common, kind, expression: onbuildExpression(node) };
    case "WORKDIR":
      readFlags(node.flags, {});
      if (args.length !== 1) throw exactlyOne(kind);
      return { ...common, kind, path: args[0]! };
    case "RUN": {
      const flags = readFlags(node.flags, {
        mount: "strings",
        network: "string",
        security: "string",
        device: "strings",
      });
      for (const mount of flags.strings("mount")) checkMount(mount);
      const network = flags.string("network") || "default";
      if (network !== "default" && network !== "none" && network !== "host") {
        throw new Error(`invalid network mode ${goQuote(network)}`);
      }
      const security = flags.string("security") || "sandbox";
      if (security !== "sandbox" && security !== "insecure")
        throw new Error(`security ${goQuote(security)} is not valid`);
      return {
        ...common,
        kind,
        command: { args, exec: node.json },
        heredocs: node.heredocs,
        mounts: flags.strings("mount"),
        network,
        security,
        devices: flags.strings("device"),
      };
    }
    case "CMD":
    case "ENTRYPOINT":
      readFlags(node.flags, {});
      return { ...common, kind, command: { args, exec: node.json } };
    case "HEALTHCHECK":
      return { ...common, kind, check: parseHealthcheck(node) };
    case "EXPOSE":
      readFlags(node.flags, {});
      if (args.length === 0) throw atLeastOne(kind);
      return { ...common, kind, ports: [...args].sort() };
    case "USER":
      readFlags(node.flags, {});
      if (args.length !== 1) throw exactlyOne(kind);
      return { ...common, kind, user: args[0]! };
    case "VOLUME": {
      readFlags(node.flags, {});
      if (args.length === 0) throw atLeastOne(kind);
      const volumes = args.map((volume) => volume.trim());
      if (volumes.includes("")) throw new Error("VOLUME specified can not be an empty string");
      return { ...common, kind, volumes };
    }
    case "STOPSIGNAL":
      readFlags(node.flags, {});
      if (args.length !== 1) throw exactlyOne(kind);
      return { ...common, kind, signal: args[0]! };
    case "ARG": {
      if (args.length === 0) throw atLeastOne(kind);
      const pairs = args.map((arg) => {
        const at = arg.indexOf("=");
        const key = at < 0 ? arg : arg.slice(0, at);
        if (key === "") throw new Error("ARG names can not be blank");
        return { key, value: at < 0 ? undefined : arg.slice(at + 1) };
      });
      return { ...common, kind, pairs };
    }
    case "SHELL":
      readFlags(node.flags, {});
      if (args.length === 0) throw atLeastOne(kind);
      if (!node.json) throw new Error("SHELL requires the arguments to be in JSON form");
      return { ...common, kind, shell: args };
  }
  throw new Error(suggest(`unknown instruction: ${node.keyword}`, node.keyword, KEYWORDS, true));
}

function parseCopy(
  node: Node,
  kind: "ADD" | "COPY",
  common: { original: string; range: Node["range"]; comments: readonly string[]; fromOnbuild: boolean },
): Instruction {
  const shared = { chown: "string", chmod: "string", link: "bool", exclude: "strings" } as const;
  const flags =
    kind === "ADD"
      ? readFlags(node.flags, { ...shared, "keep-git-dir": "bool", checksum: "string", unpack: "bool" })
      : readFlags(node.flags, { ...shared, from: "string", parents: "bool" });
  if (node.args.length < 2) {
    throw new Error(
      `${kind} requires at least two arguments, but only one was provided. Destination could not be determined`,
    );
  }
  const dest = node.args[node.args.length - 1]!;
  if (heredocOf(dest, node)) throw new Error(`${kind} cannot accept a heredoc as a destination`);
  const sources: string[] = [];
  const heredocs: Heredoc[] = [];
  for (const source of node.args.slice(0, -1)) {
    const heredoc = heredocOf(source, node);
    if (heredoc) heredocs.push(heredoc);
    else sources.push(source);
  }
  const copyFlags: CopyFlags = {
    chown: flags.string("chown"),
    chmod: flags.string("chmod"),
    link: flags.bool("link"),
    parents: flags.bool("parents"),
    exclude: flags.strings("exclude"),
  };
  const rest = { ...common, sources, dest, heredocs, flags: copyFlags };
  if (kind === "COPY") return { ...rest, kind, from: flags.string("from") };
  return {
    ...rest,
    kind,
    keepGitDir: flags.given("keep-git-dir") ? flags.bool("keep-git-dir") : undefined,
    checksum: flags.string("checksum"),
    unpack: flags.given("unpack") ? flags.bool("unpack") : undefined,
  };
}

/** The here-document that a word stands for. */
function heredocOf(word: string, { heredocs }: Node): Heredoc | undefined {
  try {
    const marker = parseHeredoc(word);
    return (
      marker && { ...marker, content: heredocs.findLast(({ name }) => name === marker.name)?.content ?? "" }
    );
  } catch {
    // half of a quoted name
    return undefined;
  }
}

function onbuildExpression(node: Node): string {
  const trigger = node.child?.keyword.toUpperCase();
  if (!node.child || trigger === undefined) throw atLeastOne("ONBUILD");
  if (trigger === "ONBUILD") throw new Error("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
  if (trigger === "MAINTAINER" || trigger === "FROM")
    throw new Error(`${trigger} isn't allowed as an ONBUILD trigger`);
  const documents = node.heredocs.map(({ content, name }) => `\n${content}${name}`);
  return node.original.replace(/^\s*ONBUILD\s*/i, "").trim() + documents.join("");
}

function parseHealthcheck(node: Node): Healthcheck {
  const flags = readFlags(node.flags, {
    interval: "string",
    timeout: "string",
    "start-period": "string",
    "start-interval": "string",
    retries: "string",
  });
  const { args } = node;
  if (args.length === 0) throw atLeastOne("HEALTHCHECK");
  const type = args[0]!.toUpperCase();
  if (type === "NONE") {
    if (args.length !== 1) throw new Error("HEALTHCHECK NONE takes no arguments");
    return { Test: ["NONE"] };
  }
  if (type !== "CMD") throw new Error(`unknown type ${goQuote(type)} in HEALTHCHECK (try CMD)`);
  const command = args.slice(1);
  if (command.length === 0) throw new Error("missing command after HEALTHCHECK CMD");
  const duration = (name: string): number => {
    const text = flags.string(name);
    if (text === "") return 0;
    const value = parseDuration(text);
    if (value < 0) throw new Error(`interval ${goQuote(name)} cannot be less than 0`);
    if (value > 0 && value < 1e6) throw new Error(`interval ${goQuote(name)} cannot be less than 1ms`);
    return value;
  };
  const retriesText = flags.string("retries");
  const retries = retriesText === "" ? 0 : Number(retriesText);
  if (!Number.isInteger(retries))
    throw new Error(`strconv.ParseInt: parsing ${goQuote(retriesText)}: invalid syntax`);
  if (retries < 0) throw new Error(`--retries cannot be negative (${retries})`);
  const times = {
    Interval: duration("interval"),
    Timeout: duration("timeout"),
    StartPeriod: duration("start-period"),
    StartInterval: duration("start-interval"),
    Retries: retries,
  };
  const given = Object.fromEntries(Object.entries(times).filter(([, value]) => value !== 0));
  return { Test: [node.json ? "CMD" : "CMD-SHELL", ...command], ...given };
}

function atLeastOne(name: string): Error {
  return new Error(`${name} requires at least one argument`);
}

function exactlyOne(name: string): Error {
  return new Error(`${name} requires exactly one argument`);
}
