// What the summary at the end of a build needs to know of its steps.
import type { ProgressEvent, ProgressVertex, ProgressWarning } from "../progress/index.js";
import type { FailedStep } from "./failure.js";

/** Remembers for the summary: the steps that failed with their last lines, and what the linter says. */
export class StepWatcher {
  readonly warnings: ProgressWarning[] = [];
  readonly #vertices = new Map<string, { vertex: ProgressVertex; lines: string[]; rest: string }>();

  handle(event: ProgressEvent): void {
    if (event.kind === "warning" && event.about) this.warnings.push(event);
    if (event.kind === "vertex") {
      const known = this.#vertices.get(event.vertex.digest);
      if (known) known.vertex = event.vertex;
      else this.#vertices.set(event.vertex.digest, { vertex: event.vertex, lines: [], rest: "" });
    } else if (event.kind === "log") {
      const known = this.#vertices.get(event.vertex);
      if (!known) return;
      const seconds = ((event.time - (known.vertex.started ?? event.time)) / 1000).toFixed(3);
      const lines = (known.rest + Buffer.from(event.data).toString("utf8")).split("\n");
      known.rest = lines.pop()!;
      known.lines.push(...lines.map((line) => `${seconds} ${line}`));
      known.lines.splice(0, known.lines.length - 10);
    }
  }

  /** In the order they were first seen, as buildx lists them. */
  get failed(): readonly FailedStep[] {
    return [...this.#vertices.values()].flatMap(({ vertex, lines, rest }) => {
      if (vertex.error === undefined || vertex.error.endsWith("context canceled")) return [];
      const seconds = ((Date.now() - (vertex.started ?? Date.now())) / 1000).toFixed(3);
      const all = rest === "" ? lines : [...lines, `${seconds} ${rest}`];
      return [{ name: vertex.name.replaceAll("\n", " "), lines: all }];
    });
  }
}
