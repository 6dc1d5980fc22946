// Filters of `du` and `prune`, as buildx takes them.
import { BuildError, parseDuration } from "../lib/index.js";
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
    const age = parseDuration(value);
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
