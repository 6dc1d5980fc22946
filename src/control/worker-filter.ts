// Filters of ListWorkers, in containerd's syntax: `labels."a.b"==c,id~=x`. Of one filter all fields have to hold, of
// several filters one.
// Source of the syntax: containerd's pkg/filters.
import { BuildError } from "../lib/index.js";
import type { WorkerRecord } from "./gen/buildkit/worker_pb.js";

const FIELD =
  /^\s*(\w+)(?:\.("(?:[^"\\]|\\.)*"|[\w./-]+))?\s*(?:(==|!=|~=)\s*("(?:[^"\\]|\\.)*"|[^,]*))?\s*(?:,|$)/;

/** @throws BuildError FILTER_INVALID */
export function workerFilter(filters: readonly string[]): (worker: WorkerRecord) => boolean {
  const tests = filters.map(testsOf);
  return (worker) => tests.length === 0 || tests.some((fields) => fields.every((test) => test(worker)));
}

function testsOf(filter: string): ((worker: WorkerRecord) => boolean)[] {
  const tests: ((worker: WorkerRecord) => boolean)[] = [];
  for (let rest = filter; rest !== "";) {
    const found = FIELD.exec(rest);
    const [all, key = "", name, operator, value = ""] = found ?? [];
    if (all === undefined || all === "" || (key !== "id" && (key !== "labels" || name === undefined)))
      throw new BuildError("FILTER_INVALID", `invalid filter "${filter}"`);
    const label = name === undefined ? "" : unquoted(name);
    const fieldOf = ({ ID, Labels }: WorkerRecord): string | undefined => (key === "id" ? ID : Labels[label]);
    tests.push((worker) => holds(fieldOf(worker), operator, unquoted(value)));
    rest = rest.slice(all.length);
  }
  return tests;
}

function holds(field: string | undefined, operator: string | undefined, value: string): boolean {
  switch (operator) {
    case "==":
      return field === value;
    case "!=":
      return field !== value;
    case "~=":
      return field !== undefined && new RegExp(value).test(field);
    default:
      return field !== undefined;
  }
}

function unquoted(text: string): string {
  return text.startsWith('"') ? (JSON.parse(text) as string) : text.trim();
}
