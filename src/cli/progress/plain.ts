// --progress=plain: a line for everything, steps numbered as they first show, as buildx prints it.
import type {
  ProgressEvent,
  ProgressLog,
  ProgressStatus,
  ProgressVertex,
  ProgressWarning,
} from "../../progress/index.js";
import { bytesOf } from "./bytes.js";

/** Milliseconds between two lines of one transfer. */
const INTERVAL = 5000;

interface Shown {
  readonly number: number;
  vertex: ProgressVertex;
  readonly logged: Record<1 | 2, string>;
  done: boolean;
}

export class PlainProgress {
  readonly #out: (text: string) => void;
  readonly #shown = new Map<string, Shown>();
  /** when a status was printed last */
  readonly #told = new Map<string, number>();
  #last: number | undefined;

  constructor(out: (text: string) => void) {
    this.#out = out;
  }

  handle(event: ProgressEvent): void {
    switch (event.kind) {
      case "vertex":
        return this.#vertex(event.vertex);
      case "status":
        return this.#status(event);
      case "log":
        return this.#log(event);
      case "warning":
        return this.#warning(event);
    }
  }

  close(): void {
    for (const shown of this.#shown.values()) this.#flush(shown);
  }

  #vertex(vertex: ProgressVertex): void {
    if (vertex.started === undefined && vertex.completed === undefined) return;
    let shown = this.#shown.get(vertex.digest);
    if (!shown) {
      shown = { number: this.#shown.size + 1, vertex, logged: { 1: "", 2: "" }, done: false };
      this.#shown.set(vertex.digest, shown);
      this.#line(shown, vertex.name.replaceAll("\n", " "));
    }
    shown.vertex = vertex;
    if (vertex.completed === undefined) shown.done = false;
    if (vertex.completed === undefined || shown.done) return;
    shown.done = true;
    this.#flush(shown);
    if (vertex.error?.endsWith("context canceled")) this.#line(shown, "CANCELED");
    else if (vertex.error !== undefined) this.#line(shown, `ERROR: ${vertex.error}`);
    else if (vertex.cached) this.#line(shown, "CACHED");
    else
      this.#line(
        shown,
        `DONE ${((vertex.completed - (vertex.started ?? vertex.completed)) / 1000).toFixed(1)}s`,
      );
    this.#last = undefined;
  }

  #status(event: ProgressStatus): void {
    const key = `${event.vertex} ${event.id}`;
    const now = event.completed ?? Date.now();
    if (event.completed === undefined && now - (this.#told.get(key) ?? event.started) < INTERVAL) return;
    this.#told.set(key, now);
    const seconds = ((now - event.started) / 1000).toFixed(1);
    const end = event.completed === undefined ? "" : " done";
    this.#line(this.#shown.get(event.vertex), `${event.id}${bytesOf(event)} ${seconds}s${end}`);
  }

  #warning({ vertex, text }: ProgressWarning): void {
    const shown = this.#shown.get(vertex);
    if (shown) this.#line(shown, `WARN: ${text}`);
    else this.#out(`WARNING: ${text}\n`);
  }

  #log({ vertex, stream, data, time }: ProgressLog): void {
    const shown = this.#shown.get(vertex);
    if (!shown) return;
    const lines = (shown.logged[stream] + Buffer.from(data).toString("utf8")).split("\n");
    shown.logged[stream] = lines.pop()!;
    for (const line of lines) this.#line(shown, `${elapsed(shown, time)} ${line}`);
  }

  #flush(shown: Shown): void {
    for (const stream of [1, 2] as const) {
      if (shown.logged[stream] !== "")
        this.#line(shown, `${elapsed(shown, Date.now())} ${shown.logged[stream]}`);
      shown.logged[stream] = "";
    }
  }

  #line(shown: Shown | undefined, text: string): void {
    if (!shown) return;
    if (this.#last !== undefined && this.#last !== shown.number) this.#out("\n");
    else if (this.#last === undefined && shown.number > 1) this.#out("\n");
    this.#last = shown.number;
    this.#out(`#${shown.number} ${text}\n`);
  }
}

function elapsed(shown: Shown, time: number): string {
  return ((time - (shown.vertex.started ?? time)) / 1000).toFixed(3);
}
