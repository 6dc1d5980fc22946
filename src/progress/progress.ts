// The one place that events go through on their way to whoever listens.
import { randomUUID } from "node:crypto";
import type { ProgressEvent, ProgressListener, ProgressVertex } from "./types.js";

export class Progress {
  readonly #listener: ProgressListener;
  readonly #vertices = new Map<string, ProgressVertex>();

  constructor(listener: ProgressListener) {
    this.#listener = listener;
  }

  emit(event: ProgressEvent): void {
    this.#listener(event);
  }

  declare(digest: string, name: string, inputs: readonly string[] = []): void {
    if (!this.#vertices.has(digest)) this.#vertices.set(digest, { digest, name, inputs });
  }

  /** A vertex that starts again, because its cached result is lost, is no longer complete. */
  update(digest: string, change: Partial<ProgressVertex>): void {
    const known = this.#vertices.get(digest) ?? { digest, name: digest, inputs: [] };
    const { name, inputs } = known;
    const vertex = { ...(change.started === undefined ? known : { digest, name, inputs }), ...change };
    this.#vertices.set(digest, vertex);
    this.emit({ kind: "vertex", vertex });
  }

  /** A step that is not an op: exporting, loading metadata. */
  async step<T>(name: string, task: (step: Step) => Promise<T>): Promise<T> {
    const id = `step:${randomUUID()}`;
    this.declare(id, name);
    this.update(id, { started: Date.now() });
    try {
      const result = await task({
        id,
        status: (text, run) => this.#status(id, text, run),
        warn: (text) => this.emit({ kind: "warning", vertex: id, text }),
      });
      this.update(id, { completed: Date.now() });
      return result;
    } catch (error) {
      this.update(id, {
        completed: Date.now(),
        error: error instanceof Error ? error.message : String(error),
      });
      throw error;
    }
  }

  async #status<T>(vertex: string, id: string, run: () => Promise<T>): Promise<T> {
    const started = Date.now();
    const base = { kind: "status", vertex, id, current: 0, total: 0, started } as const;
    this.emit(base);
    const result = await run();
    this.emit({ ...base, completed: Date.now() });
    return result;
  }
}

export interface Step {
  readonly id: string;
  /** a part of the step, shown as a line of its own */
  status<T>(text: string, run: () => Promise<T>): Promise<T>;
  warn(text: string): void;
}
