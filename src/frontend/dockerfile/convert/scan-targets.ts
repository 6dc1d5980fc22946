// What a scanner of the result looks at besides: stages and the build context that say so in ARG.
import { parseBool } from "../../../lib/index.js";
import type { Output } from "../../../llb/index.js";
import type { ScanTargets } from "../../types.js";
import { reachable } from "./stage-graph.js";
import type { StageState } from "./stage-state.js";

/** Settles what is scanned of a stage, once its instructions were seen: "true", or names of stages. */
export function setScanned(
  { name, buildArgs, scanned }: StageState,
  globalArgs: ReadonlyMap<string, string>,
): void {
  const isOn = (variable: string): boolean => {
    const own = buildArgs.findLast(({ key, value }) => key === variable && value !== undefined);
    const value = own?.value ?? globalArgs.get(variable);
    return value !== undefined && (parseBool(value) ?? value.split(",").includes(name));
  };
  scanned.isContext = isOn("BUILDKIT_SBOM_SCAN_CONTEXT");
  scanned.isStage = isOn("BUILDKIT_SBOM_SCAN_STAGE");
}

export function scanTargets(target: StageState, buildContext: () => Output): ScanTargets {
  const stages = [...reachable([target])].filter((state) => state !== target && state.scanned.isStage);
  return {
    core: target.output,
    extras: new Map([
      ...(target.scanned.isContext ? [["context", buildContext()] as const] : []),
      ...stages.map(({ name, output }) => [name, output] as const),
    ]),
    ignoreCache: [target, ...stages].some(({ noCache }) => noCache),
  };
}
