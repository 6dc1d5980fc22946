// One stage while it is converted: where its instructions stand (file system, environment, folder, user) and what its
// image will say.
import { defaultPath } from "../../../lib/index.js";
import type { Output, Platform, Range } from "../../../llb/index.js";
import type { Instruction, Stage } from "../instructions/index.js";
import type { ImageConfig } from "./image-config.js";
import type { StageOutline } from "./outline.js";

export type Env = readonly (readonly [string, string])[];

export interface StageState {
  readonly stage: Stage;
  /** as shown in front of its steps; empty if the Dockerfile has just one stage */
  displayName: string;
  /** lower case name, empty if it has none */
  readonly name: string;
  /** not a stage of the Dockerfile: an image that COPY --from or a mount names */
  readonly implicit: boolean;
  /** implicit, and named by a mount */
  readonly fromMount: boolean;
  base: StageState | undefined;
  readonly deps: Map<StageState, Instruction | undefined>;
  platform: Platform;
  /** FROM --platform was given */
  explicitPlatform: boolean;
  /** `undefined`: scratch */
  output: Output | undefined;
  env: Env;
  dir: string;
  user: string;
  image: ImageConfig;
  baseConfig: string | undefined;
  commands: readonly Instruction[];
  buildArgs: { readonly key: string; readonly value: string | undefined }[];
  /** what can be set from outside */
  readonly outline: StageOutline;
  /** where instructions of which only the last one counts were seen */
  readonly once: Map<Instruction["kind"], Range>;
  /** a scanner looks at this stage too, and at the build context */
  readonly scanned: { isStage: boolean; isContext: boolean };
  /** a WORKDIR was seen, here or in the stage it stands on */
  workdirSet: boolean;
  commandCount: number;
  commandIndex: number;
  dispatched: boolean;
  noCache: boolean;
  /** the scratch base does not count as a step */
  epoch: Date | undefined;
}

/** Sets a variable; an existing one moves to the end, as BuildKit's EnvList does. */
export function setEnv(env: Env, key: string, value: string): Env {
  return [...env.filter(([name]) => name !== key), [key, value]];
}

export function envLookup(env: Env): (name: string) => string | undefined {
  const map = new Map(env);
  return (name) => map.get(name);
}

/** Sets a variable in an image config's list, in place where it is there already. */
export function setConfigEnv(list: readonly string[], key: string, value: string): string[] {
  const at = list.findIndex((entry) => entry.split("=", 1)[0] === key);
  const entry = `${key}=${value}`;
  return at < 0 ? [...list, entry] : list.map((old, i) => (i === at ? entry : old));
}

export function splitEnv(entry: string): [string, string] {
  const at = entry.indexOf("=");
  return at < 0 ? [entry, ""] : [entry.slice(0, at), entry.slice(at + 1)];
}

export function commitHistory(state: StageState, created_by: string, withLayer: boolean): void {
  state.image.history.push({
    ...(state.epoch && { created: goTime(state.epoch) }),
    created_by,
    comment: "buildkit.dockerfile.v0",
    ...(!withLayer && { empty_layer: true }),
  });
}

/** RFC 3339 as Go prints it: no fraction unless there is one. */
export function goTime(time: Date): string {
  return time
    .toISOString()
    .replace(/\.?0*Z$/, "Z")
    .replace(/\.(\d*?)0+Z$/, ".$1Z");
}

/** What the config of the base says about environment, folder and user. */
export function initFromImage(state: StageState): void {
  const { config } = state.image;
  const env = config.Env ?? [];
  const isSet = env.some((entry) => splitEnv(entry)[0] === "PATH");
  // Windows has its own
  if (!isSet && state.platform.OS !== "windows") config.Env = [...env, `PATH=${defaultPath()}`];
  for (const entry of config.Env ?? []) {
    const [key, value] = splitEnv(entry);
    state.env = setEnv(state.env, key, value);
  }
  if (config.WorkingDir) state.dir = config.WorkingDir;
  if (config.User) state.user = config.User;
}
