// What a step is called that its frontend gave no name; BuildKit's words.
import type { FileAction, Op } from "../llb/index.js";

export function opName(op: Op): string {
  switch (op.kind) {
    case "source":
      return op.source.identifier;
    case "exec":
      return op.exec.meta.args.join(" ");
    case "file":
      return op.file.actions.map(actionName).join(", ");
    case "merge":
      return "merge";
    case "diff":
      return "diff";
    case "build":
      return "build";
    case "return":
      return "return";
  }
}

function actionName(action: FileAction): string {
  switch (action.kind) {
    case "copy":
      return `copy ${action.copy.src} ${action.copy.dest}`;
    case "mkfile":
      return `mkfile ${action.mkfile.path}`;
    case "mkdir":
      return `mkdir ${action.mkdir.path}`;
    case "rm":
      return `rm ${action.rm.path}`;
    case "symlink":
      return `symlink ${action.symlink.oldpath} -> ${action.symlink.newpath}`;
  }
}
