// Bytes of a transfer, as buildx shows them.
import { formatTransfer } from "../../lib/index.js";
import type { ProgressStatus } from "../../progress/index.js";

/** " 1.05MB / 3.25MB", " 1.05MB", or nothing. */
export function bytesOf({ current, total }: ProgressStatus): string {
  if (total > 0) return ` ${formatTransfer(current)} / ${formatTransfer(total)}`;
  return current > 0 ? ` ${formatTransfer(current)}` : "";
}
