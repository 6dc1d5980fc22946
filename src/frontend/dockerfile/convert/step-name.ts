// The names of steps: "[stage 2/5] RUN make", with variables filled in where that is possible.
import type { Platform } from "../../../llb/index.js";
import { expandWord, type ExpandOptions } from "../shell/index.js";
import { formatPlatform, normalizePlatform, parsePlatform } from "./platform.js";
import { envLookup, type Env, type StageState } from "./stage-state.js";

/** Takes the next number of the stage. */
export function stepName(state: StageState, text: string, platform: Platform | undefined): string {
  if (state.commandCount === 0) return text;
  state.commandIndex++;
  return stepNameAgain(state, text, platform);
}

/** Another name with the number of the last step. */
export function stepNameAgain(state: StageState, text: string, platform: Platform | undefined): string {
  if (state.commandCount === 0) return text;
  const width = 1 + Math.floor(Math.log10(state.commandCount));
  const index = String(state.commandIndex).padStart(width);
  const shownPlatform = platform ? `${formatPlatform(platform)}${targetSuffix(platform, state.env)} ` : "";
  const stage = state.displayName === "" ? "" : `${state.displayName} `;
  return `[${shownPlatform}${stage}${index}/${state.commandCount}] ${text}`;
}

/** Fills in variables and writes the instruction in capitals. */
export function commandText(original: string, env: Env, options: ExpandOptions): string {
  let text = original;
  try {
    text = expandWord(original, envLookup(env), options).text;
  } catch {
    // a text that cannot be expanded is shown as it is
  }
  // up to the first blank, as BuildKit does: with a tab after the instruction that is more than its name
  return text.replace(/^[^ ]+/, (word) => word.toUpperCase());
}

/** "->arm64" where the stage runs on another platform than the one it builds for. */
function targetSuffix(base: Platform, env: Env): string {
  const get = envLookup(env);
  let target: Platform | undefined;
  const whole = get("TARGETPLATFORM");
  const arch = get("TARGETARCH");
  const os = get("TARGETOS");
  if (whole) target = parsePlatform(whole);
  else if (arch || os)
    target = {
      OS: os || base.OS,
      Architecture: arch || base.Architecture,
      Variant: get("TARGETVARIANT") ?? "",
    };
  if (!target) return "";
  const p = normalizePlatform(target);
  if (p.OS !== base.OS) return `->${formatPlatform(p)}`;
  if (p.Architecture !== base.Architecture)
    return `->${[p.Architecture, p.Variant].filter((x) => x).join("/")}`;
  if ((p.Variant ?? "") !== (base.Variant ?? "")) return `->${p.Variant ?? ""}`;
  return "";
}
