// Sizes as docker's commands print and take them.

const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];

/** Four digits and a decimal unit: "1.987MB". */
export function formatBytes(bytes: number): string {
  const { value, unit } = scaled(bytes);
  return `${Number(value.toPrecision(4))}${unit}`;
}

/** Two decimals and a decimal unit, as progress shows bytes: "36.12MB", "512B". */
export function formatTransfer(bytes: number): string {
  const { value, unit } = scaled(bytes);
  return `${unit === "B" ? value : value.toFixed(2)}${unit}`;
}

function scaled(bytes: number): { value: number; unit: string } {
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1000;
    unit++;
  }
  return { value, unit: UNITS[unit]! };
}

/** Bytes of "512", "2gb", "1.5 GiB"; units are binary, as in docker; `undefined` if it is no size. */
export function parseBytes(text: string): number | undefined {
  const [, number, unit = ""] = /^(\d+(?:\.\d+)?) ?([kmgtp]?)i?b?$/i.exec(text) ?? [];
  if (number === undefined) return undefined;
  const power = ["", "k", "m", "g", "t", "p"].indexOf(unit.toLowerCase());
  return Math.floor(Number(number) * 1024 ** power);
}
