// Go's time.ParseDuration: "1h30m", "500ms"; the result is in nanoseconds.

const UNITS: Readonly<Record<string, number>> = {
  ns: 1,
  us: 1e3,
  µs: 1e3,
  μs: 1e3,
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3600e9,
};

/** @throws Error `time: invalid duration "x"` */
export function parseDuration(text: string): number {
  const match = /^([+-]?)((?:\d+\.?\d*|\.\d+)[a-zµμ]+)+$/.exec(text);
  if (text === "0") return 0;
  if (!match)
    throw new Error(
      `time: ${/^[+-]?[\d.]+$/.test(text) ? "missing unit in" : "invalid"} duration ${JSON.stringify(text)}`,
    );
  let total = 0;
  for (const [, number, unit] of text.matchAll(/(\d+\.?\d*|\.\d+)([a-zµμ]+)/g)) {
    const factor = UNITS[unit!];
    if (factor === undefined)
      throw new Error(`time: unknown unit ${JSON.stringify(unit)} in duration ${JSON.stringify(text)}`);
    total += Number(number) * factor;
  }
  return Math.round(match[1] === "-" ? -total : total);
}
