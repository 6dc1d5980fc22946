// Sizes and times as docker's commands print and take them.

const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];

/** Four digits and a decimal unit: "1.987MB". */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${Number(value.toPrecision(4))}${UNITS[unit]}`;
}

/** Bytes of "512", "2gb", "1.5 GiB"; units are binary, as in docker; `undefined` if it is no size. */
export function parseBytes(text: string): number | undefined {
  const [, number, unit = ""] = /^(\d+(?:\.\d+)?) ?([kmgtp]?)i?b?$/i.exec(text) ?? [];
  if (number === undefined) return undefined;
  const power = ["", "k", "m", "g", "t", "p"].indexOf(unit.toLowerCase());
  return Math.floor(Number(number) * 1024 ** power);
}

/** From the longest age on: how it is said. */
const AGES: readonly (readonly [fromHours: number, text: (hours: number) => string])[] = [
  [24 * 365 * 2, (hours) => `${Math.floor(hours / 24 / 365)} years`],
  [24 * 30 * 2, (hours) => `${Math.floor(hours / 24 / 30)} months`],
  [24 * 7 * 2, (hours) => `${Math.floor(hours / 24 / 7)} weeks`],
  [48, (hours) => `${Math.floor(hours / 24)} days`],
  [1.5, (hours) => `${Math.round(hours)} hours`],
  [1, () => "About an hour"],
  [2 / 60, (hours) => `${Math.floor(hours * 60)} minutes`],
  [1 / 60, () => "About a minute"],
  [2 / 3600, (hours) => `${Math.floor(hours * 3600)} seconds`],
  [1 / 3600, () => "1 second"],
];

/** "8 minutes ago", in docker's steps. */
export function formatAge(milliseconds: number): string {
  const hours = milliseconds / 3_600_000;
  const text = AGES.find(([from]) => hours >= from)?.[1](hours) ?? "Less than a second";
  return `${text} ago`;
}
