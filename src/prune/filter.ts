// Filters of `du` and `prune`, as buildx takes them.
import { BuildError } from "../lib/index.js";
import type { UsageRecord } from "./types.js";

type Test = (record: UsageRecord) => boolean;

const TEXTS: Readonly<Record<string, (record: UsageRecord) => readonly string[]>> = {
  id: ({ id }) => [id],
  type: ({ kind }) => [kind],
  description: ({ description }) => [description],
  parents: ({ parents }) => parents,
};
const FLAGS: Readonly<Record<string, Test>> = {
  mutable: ({ mutable }) => mutable,
  immutable: ({ mutable }) => !mutable,
  inuse: ({ inUse }) => inUse,
  reclaimable: ({ inUse }) => !inUse,
  shared: () => false,
  private: () => true,
};

/** @throws BuildError FILTER_INVALID */
export function usageFilter(filters: readonly string[], now = Date.now()): Test {
  const tests = filters.flatMap((text) => text.split(",")).map((text) => testOf(text.trim(), now));
  return (record) => tests.every((test) => test(record));
}

function testOf(text: string, now: number): Test {
  const [, key = "", operator, value = ""] = /^([a-z-]+)(?:(==|!=|~=|=)(.*))?$/s.exec(text) ?? [];
  if (key === "until" || key === "unused-for") {
    const age = duration(value);
    if (age === undefined)
      throw invalid(`"${key}" filter expects a duration (e.g., '24h'): invalid duration "${value}"`);
    return ({ lastUsedAt, createdAt }) => (lastUsedAt ?? createdAt) <= now - age;
  }
  const flag = FLAGS[key];
  if (flag && operator === undefined) return flag;
  if (flag && (value === "true" || value === "false"))
    return (record) => flag(record) === ((value === "true") === (operator !== "!="));
  const texts = TEXTS[key];
  if (!texts || operator === undefined) throw invalid(`invalid filter "${text}"`);
  if (operator === "~=") {
    const pattern = expression(value);
    return (record) => texts(record).some((one) => pattern.test(one));
  }
  return (record) => texts(record).includes(value) === (operator !== "!=");
}

function expression(text: string): RegExp {
  try {
    return new RegExp(text);
  } catch (cause) {
    throw invalid(`invalid filter: "${text}" is not a regular expression`, cause);
  }
}

function invalid(message: string, cause?: unknown): BuildError {
  return new BuildError("FILTER_INVALID", message, { cause });
}

const UNITS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** Milliseconds of a duration as Go writes it, "1h30m"; `undefined` if it is none. */
export function duration(text: string): number | undefined {
  if (text === "0") return 0;
  if (!/^(\d+(\.\d*)?(ns|us|µs|ms|s|m|h))+$/.test(text)) return undefined;
  const parts = [...text.matchAll(/(\d+(?:\.\d*)?)(ns|us|µs|ms|s|m|h)/g)];
  return parts.reduce((sum, [, number, unit]) => sum + Number(number) * UNITS[unit!]!, 0);
}
