// The chosen way to show a build.
import { BuildError } from "../../lib/index.js";
import type { ProgressEvent } from "../../progress/index.js";
import { PlainProgress } from "./plain.js";
import { rawJson } from "./rawjson.js";
import { TtyProgress } from "./tty.js";

export interface Display {
  handle(event: ProgressEvent): void;
  close(): void;
  /** whether anything but errors is shown */
  readonly quiet: boolean;
}

/**
 * @param wanted by flag; BUILDKIT_PROGRESS says what "auto" is
 * @throws BuildError FLAG_INVALID
 */
export function makeDisplay(
  wanted: string,
  stderr: NodeJS.WriteStream,
  env: Readonly<Record<string, string | undefined>>,
): Display {
  const isAuto = (mode: string): boolean => mode === "" || mode === "auto";
  const mode = isAuto(wanted) ? (env["BUILDKIT_PROGRESS"] ?? "") : wanted;
  const chosen = isAuto(mode) ? (stderr.isTTY ? "tty" : "plain") : mode;
  switch (chosen) {
    case "plain": {
      const plain = new PlainProgress((text) => void stderr.write(text));
      return { quiet: false, handle: (event) => plain.handle(event), close: () => plain.close() };
    }
    case "tty": {
      const tty = new TtyProgress(stderr, !env["NO_COLOR"]);
      return { quiet: false, handle: (event) => tty.handle(event), close: () => tty.close() };
    }
    case "quiet":
    case "none":
      return { quiet: true, handle: () => undefined, close: () => undefined };
    case "rawjson":
      return {
        quiet: true,
        handle: (event) => void stderr.write(`${rawJson(event)}\n`),
        close: () => undefined,
      };
    default:
      throw new BuildError(
        "FLAG_INVALID",
        `invalid progress mode ${mode}; use auto, plain, tty, quiet or rawjson`,
      );
  }
}
