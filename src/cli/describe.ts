// `--check` and `--call`: what the frontend says about a Dockerfile, as text or as BuildKit's JSON.
import { descriptionJson, type Description, type Outline, type Target } from "../frontend/index.js";
import { BuildError, goJsonIndent } from "../lib/index.js";
import type { Call } from "../frontend/index.js";
import { excerpt } from "./failure.js";

export interface CallFlag {
  readonly call: Call;
  readonly format: "" | "json";
  /** warnings of a check don't make the command fail */
  readonly ignoreStatus: boolean;
}

const CALLS: readonly string[] = ["check", "outline", "targets"];

/** "check", "outline,format=json", ...; `undefined` for a build. @throws BuildError FLAG_INVALID */
export function parseCall(text: string): CallFlag | undefined {
  let call = "build";
  let format: CallFlag["format"] = "";
  let ignoreStatus = false;
  for (const field of text.split(",").filter((part) => part !== "")) {
    const at = field.indexOf("=");
    const [key, value] = at < 0 ? ["", field] : [field.slice(0, at), field.slice(at + 1)];
    if (key === "") call = value;
    else if (key === "format") {
      if (value !== "json" && value !== "text" && value !== "")
        throw invalid(`unknown format "${value}"`, text);
      format = value === "json" ? value : "";
    } else if (key === "ignorestatus") ignoreStatus = value === "true" || value === "1";
    else throw invalid(`unknown option "${key}"`, text);
  }
  if (call === "build") return undefined;
  const known = { lint: "check", check: "check", outline: "outline", targets: "targets" } as const;
  if (!(call in known)) throw invalid(`"${call}" is none of build, ${CALLS.join(", ")}`, text);
  return { call: known[call as keyof typeof known], format, ignoreStatus };
}

function invalid(what: string, text: string): BuildError {
  return new BuildError("FLAG_INVALID", `invalid --call=${text}: ${what}`);
}

/** @returns what goes to standard output, what goes to standard error, and the exit code */
export function describe(
  description: Description,
  { format, ignoreStatus }: CallFlag,
): { out: string; error: string; code: number } {
  const json = `${goJsonIndent(descriptionJson(description))}\n`;
  const isJson = format === "json";
  switch (description.kind) {
    case "outline":
      return { out: isJson ? json : outlineText(description.outline), error: "", code: 0 };
    case "targets":
      return { out: isJson ? json : targetsText(description.targets), error: "", code: 0 };
    case "check": {
      const { warnings, error } = description;
      const failed = error !== undefined || (warnings.length > 0 && !ignoreStatus);
      return {
        out: isJson ? json : checkText(description),
        error: error ? `ERROR: ${error.message}\n${place(description, error.ranges)}\n` : "",
        code: failed ? 1 : 0,
      };
    }
  }
}

function checkText(check: Extract<Description, { kind: "check" }>): string {
  const { warnings, error } = check;
  if (warnings.length === 0) return error ? "" : "Check complete, no warnings found.\n";
  const count = warnings.length === 1 ? "1 warning has" : `${warnings.length} warnings have`;
  const parts = [`Check complete, ${count} been found!\n`];
  for (const { rule, url, detail, ranges } of warnings)
    parts.push(`\nWARNING: ${rule} - ${url}\n${detail}\n${place(check, ranges)}`);
  if (error) parts.push("\n");
  return parts.join("");
}

function place(
  { source }: Description,
  ranges: Extract<Description, { kind: "check" }>["warnings"][number]["ranges"],
): string {
  if (ranges.length === 0) return "";
  return excerpt({ filename: source.filename, data: source.data, ranges })
    .map((line) => `${line}\n`)
    .join("");
}

function outlineText({ name, description, args, secrets, agents }: Outline): string {
  const parts: string[] = [];
  if (name !== "" || description !== "") {
    parts.push(`TARGET:      ${name}\n`);
    if (description !== "") parts.push(`DESCRIPTION: ${description}\n`);
    parts.push("\n");
  }
  const required = (list: Outline["secrets"]): string[][] =>
    list.map((entry) => [entry.name, entry.isRequired ? "true" : ""]);
  if (args.length > 0) {
    const rows = args.map((arg) => [arg.name, arg.value, arg.description]);
    parts.push(table(["BUILD ARG", "VALUE", "DESCRIPTION"], rows), "\n");
  }
  if (secrets.length > 0) parts.push(table(["SECRET", "REQUIRED"], required(secrets)), "\n");
  if (agents.length > 0) parts.push(table(["SSH", "REQUIRED"], required(agents)), "\n");
  return parts.join("");
}

function targetsText(targets: readonly Target[]): string {
  const rows = targets.map(({ name, isDefault, description }) => {
    const shown = name === "" && isDefault ? "(default)" : isDefault ? `${name} (default)` : name;
    return [shown, description];
  });
  return table(["TARGET", "DESCRIPTION"], rows, 1);
}

/** Columns as wide as their widest cell and the gap; the last one is not padded. */
function table(head: readonly string[], rows: readonly (readonly string[])[], gap = 3): string {
  const all = [head, ...rows];
  const widths = head.map((_, i) => Math.max(...all.map((row) => row[i]!.length)) + gap);
  return all
    .map((row) => `${row.map((cell, i) => (i < row.length - 1 ? cell.padEnd(widths[i]!) : cell)).join("")}\n`)
    .join("");
}
