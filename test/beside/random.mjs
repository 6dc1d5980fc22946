// Choices that a seed repeats.

/** @param seed any number @returns functions that choose */
export function random(seed) {
  let state = (seed * 2654435761) >>> 0;
  const next = () => {
    // mulberry32
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const chance = (probability) => next() < probability;
  const int = (from, to) => from + Math.floor(next() * (to - from + 1));
  const pick = (list) => list[Math.floor(next() * list.length)];
  const times = (from, to, make) => Array.from({ length: int(from, to) }, make);
  return { chance, int, pick, times };
}
