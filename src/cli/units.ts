// Ages as docker's commands print them.

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
