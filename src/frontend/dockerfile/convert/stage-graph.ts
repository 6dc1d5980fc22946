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

/** @throws SourceError `circular dependency detected on stage: NAME`, with the instructions that lead into the circle and round it */
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
      if (path.some(({ state }) => state === dep)) {
        const commands = [via, ...path.map((entry) => entry.via).reverse()];
        throw new SourceError(
          `circular dependency detected on stage: ${start.name || start.displayName}`,
          commands.filter((command) => command !== undefined).map(({ range }) => [range]),
        );
      }
      path.push({ state: dep, rest: [...dep.deps], via });
    }
  }
}
