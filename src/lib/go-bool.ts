// Go's strconv.ParseBool, which every boolean in BuildKit's little languages goes through.

const VALUES: ReadonlyMap<string, boolean> = new Map([
  ...["1", "t", "T", "TRUE", "true", "True"].map((text) => [text, true] as const),
  ...["0", "f", "F", "FALSE", "false", "False"].map((text) => [text, false] as const),
]);

/** `undefined` for what is neither. */
export function parseBool(text: string): boolean | undefined {
  return VALUES.get(text);
}
