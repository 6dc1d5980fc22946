// What can be set from outside for a target: build arguments, secrets and ssh agents that it and all it stands on use,
// with the place where each is named. BuildKit's outline subrequest.
import type { Range } from "../../../llb/index.js";
import type { Outline, OutlineArg, OutlineCredential } from "../../types.js";
import type { StageState } from "./stage-state.js";

export interface DeclaredArg {
  readonly value: string | undefined;
  readonly range: Range;
  /** the comment lines above it */
  readonly comments: readonly string[];
  /** other arguments in its default */
  readonly uses: ReadonlySet<string>;
}

type Credential = Omit<OutlineCredential, "name">;

/** Collected while a stage is converted. */
export class StageOutline {
  readonly #args: Map<string, DeclaredArg>;
  readonly #used = new Set<string>();
  readonly secrets = new Map<string, Credential>();
  readonly agents = new Map<string, Credential>();

  constructor(globalArgs: ReadonlyMap<string, DeclaredArg>) {
    this.#args = new Map(globalArgs);
  }

  use(names: Iterable<string>): void {
    for (const name of names) {
      if (this.#used.has(name)) continue;
      this.#used.add(name);
      this.use(this.#args.get(name)?.uses ?? []);
    }
  }

  /** ARG in the stage; `undefined` if it only makes a global one known here. */
  declare(name: string, arg: DeclaredArg | undefined): void {
    if (arg) this.#args.set(name, arg);
    this.use([name]);
  }

  secret(id: string, credential: Credential): void {
    if (!this.secrets.has(id)) this.secrets.set(id, credential);
  }

  agent(id: string, credential: Credential): void {
    if (!this.agents.has(id)) this.agents.set(id, credential);
  }

  get args(): OutlineArg[] {
    return [...this.#used].flatMap((name) => {
      const arg = this.#args.get(name);
      if (!arg) return [];
      const description = descriptionOf(arg.comments, name);
      return [{ name, description, value: arg.value ?? "", range: arg.range }];
    });
  }
}

/** Of a target and all it stands on; each name once, the closest to the target first. */
export function outlineOf(target: StageState): Outline {
  const seen = new Set<StageState>();
  const args = new Map<string, OutlineArg>();
  const secrets = new Map<string, OutlineCredential>();
  const agents = new Map<string, OutlineCredential>();
  const pending = [target];
  for (let state = pending.pop(); state; state = pending.pop()) {
    if (seen.has(state)) continue;
    seen.add(state);
    const { outline } = state;
    for (const arg of outline.args) if (!args.has(arg.name)) args.set(arg.name, arg);
    for (const [name, secret] of outline.secrets)
      if (!secrets.has(name)) secrets.set(name, { name, ...secret });
    for (const [name, agent] of outline.agents) if (!agents.has(name)) agents.set(name, { name, ...agent });
    pending.push(...[...state.deps.keys()].reverse(), ...(state.base ? [state.base] : []));
  }
  const { name, comments } = target.stage;
  return {
    name,
    description: descriptionOf(comments, name),
    args: byLine(args.values()),
    secrets: byLine(secrets.values()),
    agents: byLine(agents.values()),
  };
}

function byLine<T extends { readonly range: Range }>(list: Iterable<T>): T[] {
  return [...list].sort((a, b) => a.range.start.line - b.range.start.line);
}

/** "# NAME what it is for" above an instruction. */
export function descriptionOf(comments: readonly string[], name: string): string {
  if (name === "") return "";
  return comments.find((line) => line.startsWith(`${name} `))?.slice(name.length + 1) ?? "";
}
