// Which stages need which: all that a target stands on, and circles, which are errors.
import type { Instruction } from "../instructions/index.js";
import { SourceError } from "../source-error.js";
import type { StageState } from "./stage-state.js";

/** The targets and everything below them. */
export function reachable(targets: readonly StageState[]): Set<StageState> {
  const found = new Set<StageState>();
  const pending = [...targets];
  while (pending.length > 0) {
    const state = pending.pop()!;
    if (found.has(state)) continue;
    found.add(state);
    pending.push(...state.deps.keys());
  }
  return found;
}

/** @throws SourceError `circular dependency detected on stage: NAME`, with the places that make the circle */
export function checkCycles(states: readonly StageState[]): void {
  const done = new Set<StageState>();
  for (const start of states) {
    if (done.has(start)) continue;
    const path: {
      state: StageState;
      rest: [StageState, Instruction | undefined][];
      via: Instruction | undefined;
    }[] = [];
    path.push({ state: start, rest: [...start.deps], via: undefined });
    while (path.length > 0) {
      const top = path[path.length - 1]!;
      const next = top.rest.shift();
      if (!next) {
        done.add(top.state);
        path.pop();
        continue;
      }
      const [dep, via] = next;
      if (done.has(dep)) continue;
      const at = path.findIndex((entry) => entry.state === dep);
      if (at >= 0) {
        const places = [
          via,
          ...path
            .slice(at + 1)
            .map((entry) => entry.via)
            .reverse(),
        ]
          .filter((command) => command !== undefined)
          .map((command) => [command.range]);
        throw new SourceError(
          `circular dependency detected on stage: ${dep.name || dep.displayName}`,
          places,
        );
      }
      path.push({ state: dep, rest: [...dep.deps], via });
    }
  }
}
