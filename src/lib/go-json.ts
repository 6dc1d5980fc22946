// JSON as Go's encoding/json writes it. BuildKit hashes such texts for cache keys and writes them into image configs,
// so the bytes matter. Differences to JSON.stringify: <, >, & and the two line separators are escaped, 0x08 and 0x0c
// are written as \u0008 and \u000c before Go 1.22 and as \b and \f since. Key order is the caller's: Go writes struct
// fields in order of declaration and maps in order of their keys (see `sorted`).

export type GoValue =
  | string
  | number
  | bigint
  | boolean
  | null
  | undefined
  | readonly GoValue[]
  | { readonly [key: string]: GoValue };

const ESCAPED = /[<>&\u2028\u2029\u007f]/g;

/** Compact JSON; properties that are undefined are left out. */
export function goJson(value: GoValue): string {
  return escape(JSON.stringify(value, bigints));
}

/** Go's json.MarshalIndent(value, "", "  "). */
export function goJsonIndent(value: GoValue): string {
  return escape(JSON.stringify(value, bigints, 2));
}

/** A map as Go writes it: keys in byte order. */
export function sorted<T>(map: Readonly<Record<string, T>>): Record<string, T> {
  return Object.fromEntries(Object.entries(map).sort(([a], [b]) => compareBytes(a, b)));
}

/** Order of two strings by their UTF-8 bytes, as Go compares strings. */
export function compareBytes(a: string, b: string): number {
  if (a === b) return 0;
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

function bigints(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? Number(value) : value;
}

function escape(json: string): string {
  return json.replace(ESCAPED, (c) =>
    c === "\u007f" ? c : `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
