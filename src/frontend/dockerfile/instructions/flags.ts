// Reading the flags of one instruction: each known by name, boolean or with a value, given once unless a list.
import { suggest } from "./suggest.js";

type FlagKind = "bool" | "string" | "strings";

export interface Flags {
  bool(name: string): boolean;
  /** whether a boolean was given at all */
  given(name: string): boolean;
  string(name: string): string;
  strings(name: string): readonly string[];
}

/** @throws Error in BuildKit's words: "unknown flag: --x (did you mean y?)", "duplicate flag specified: --x" */
export function readFlags(given: readonly string[], known: Readonly<Record<string, FlagKind>>): Flags {
  const values = new Map<string, string[]>();
  for (const flag of given) {
    if (!flag.startsWith("--")) throw new Error(`arg should start with -- : ${flag}`);
    const at = flag.indexOf("=");
    const name = at < 0 ? flag.slice(2) : flag.slice(2, at);
    const kind = known[name];
    if (kind === undefined) {
      throw new Error(suggest(`unknown flag: --${name}`, name, Object.keys(known), true));
    }
    const before = values.get(name);
    if (before && kind !== "strings") throw new Error(`duplicate flag specified: --${name}`);
    if (at < 0 && kind !== "bool") throw new Error(`missing a value on flag: --${name}`);
    const value = at < 0 ? "true" : flag.slice(at + 1);
    if (kind === "bool" && !["true", "false"].includes(value.toLowerCase())) {
      throw new Error(`expecting boolean value for flag --${name}, not: ${value}`);
    }
    values.set(name, [...(before ?? []), value]);
  }
  return {
    bool: (name) => values.get(name)?.[0]?.toLowerCase() === "true",
    given: (name) => values.has(name),
    string: (name) => values.get(name)?.[0] ?? "",
    strings: (name) => values.get(name) ?? [],
  };
}
