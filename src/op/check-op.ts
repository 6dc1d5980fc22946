// What makes no sense in an op, before anything is solved; BuildKit's words where it has some.
import { BuildError } from "../lib/index.js";
import type { Op } from "../llb/index.js";

/** @throws BuildError LLB_INVALID */
export function checkOp(op: Op): void {
  const isInput = (input: number): boolean => Number.isInteger(input) && input < op.inputs.length;
  const checkInputs = (inputs: readonly number[], what: string): void => {
    for (const input of inputs) if (!isInput(input)) throw invalid(`invalid ${what} input ${input}`);
  };
  switch (op.kind) {
    case "exec": {
      const { meta, mounts } = op.exec;
      if (meta.args.length === 0) throw invalid("invalid exec op with no args");
      if (mounts.length === 0) throw invalid("invalid exec op with no mounts");
      if (!mounts.some(({ dest }) => dest === "/")) throw invalid("invalid exec op with no rootfs");
      checkInputs(
        mounts.map(({ input }) => input),
        "mount",
      );
      if (mounts.some(({ mountType, cacheOpt }) => mountType === "CACHE" && !cacheOpt))
        throw invalid("missing cache mount options");
      return;
    }
    case "file":
      op.file.actions.forEach(({ input, secondaryInput }, i) => {
        const known = op.inputs.length + i;
        if (input >= known || secondaryInput >= known)
          throw invalid(`file action ${i} reads what comes after it`);
      });
      return;
    case "merge":
      return checkInputs(op.merge.inputs, "merge");
    case "diff":
      return checkInputs([op.diff.lower, op.diff.upper], "diff");
    case "return":
      if (op.inputs.length !== 1) throw invalid("an op that does nothing");
  }
}

function invalid(problem: string): BuildError {
  return new BuildError("LLB_INVALID", `failed to load LLB: ${problem}`);
}
