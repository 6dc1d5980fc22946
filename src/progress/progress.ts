// The one place that events go through on their way to whoever listens.
import { AsyncLocalStorage } from "node:async_hooks";
import { randomUUID } from "node:crypto";
import type { ProgressEvent, ProgressListener, ProgressVertex } from "./types.js";

/** Milliseconds between two events of bytes that move. */
const INTERVAL = 150;

/** The step that the running code works for, as Go's programs find it in their context. */
const current = new AsyncLocalStorage<Step>();

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
      const result = await this.during(id, task);
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

  /** Runs what belongs to a vertex: transfers on its behalf show there. */
  during<T>(vertex: string, task: (step: Step) => Promise<T>): Promise<T> {
    const step: Step = {
      id: vertex,
      status: (text, run, total) => this.#status(vertex, text, run, total),
      warn: (text) => this.emit({ kind: "warning", vertex, text }),
    };
    return current.run(step, () => task(step));
  }

  async #status<T>(vertex: string, id: string, run: (moved: Moved) => Promise<T>, total = 0): Promise<T> {
    const started = Date.now();
    const base = { kind: "status", vertex, id, total, started } as const;
    let [bytes, told] = [0, started];
    this.emit({ ...base, current: 0 });
    const result = await run((count) => {
      bytes += count;
      if (Date.now() - told < INTERVAL) return;
      told = Date.now();
      this.emit({ ...base, current: bytes });
    });
    this.emit({ ...base, current: bytes, completed: Date.now() });
    return result;
  }
}

/** Counts bytes that have been moved since it was called last. */
export type Moved = (bytes: number) => void;

export interface Step {
  readonly id: string;
  /**
   * a part of the step, shown as a line of its own
   * @param total bytes that it moves
   */
  status<T>(text: string, run: (moved: Moved) => Promise<T>, total?: number): Promise<T>;
  warn(text: string): void;
}

/** Moves bytes, and shows it in the step that this is done for, if there is one. */
export function transfer<T>(id: string, total: number, run: (moved: Moved) => Promise<T>): Promise<T> {
  const step = current.getStore();
  return step ? step.status(id, run, total) : run(() => undefined);
}
