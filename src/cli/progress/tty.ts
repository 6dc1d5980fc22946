// --progress=tty: the steps as a list that is redrawn in place, the newest output lines below those that run.
import type { ProgressEvent, ProgressVertex } from "../../progress/index.js";
import { bytesOf } from "./bytes.js";

const LOG_LINES = 6;

interface Shown {
  vertex: ProgressVertex;
  readonly lines: string[];
  rest: string;
  status: string;
}

export class TtyProgress {
  readonly #out: NodeJS.WriteStream;
  readonly #hasColors: boolean;
  readonly #shown = new Map<string, Shown>();
  readonly #warnings: string[] = [];
  readonly #start = Date.now();
  readonly #timer: NodeJS.Timeout;
  #drawn = 0;

  constructor(out: NodeJS.WriteStream, hasColors: boolean) {
    this.#out = out;
    this.#hasColors = hasColors;
    this.#timer = setInterval(() => this.#draw(false), 150);
    this.#timer.unref();
  }

  handle(event: ProgressEvent): void {
    if (event.kind === "warning") {
      // what is said of a step is in the summary
      if (event.vertex === "") this.#warnings.push(event.text);
    } else if (event.kind === "vertex") {
      if (event.vertex.started === undefined) return;
      const known = this.#shown.get(event.vertex.digest);
      if (known) known.vertex = event.vertex;
      else this.#shown.set(event.vertex.digest, { vertex: event.vertex, lines: [], rest: "", status: "" });
    } else if (event.kind === "log") {
      const shown = this.#shown.get(event.vertex);
      if (!shown) return;
      const lines = (shown.rest + Buffer.from(event.data).toString("utf8")).split("\n");
      shown.rest = lines.pop()!;
      shown.lines.push(...lines);
      shown.lines.splice(0, shown.lines.length - LOG_LINES);
    } else {
      const shown = this.#shown.get(event.vertex);
      if (shown) shown.status = `${event.id}${bytesOf(event)}`;
    }
  }

  close(): void {
    clearInterval(this.#timer);
    this.#draw(true);
    for (const text of this.#warnings) this.#out.write(`WARNING: ${text}\n`);
  }

  #draw(final: boolean): void {
    const width = this.#out.columns || 80;
    const height = this.#out.rows || 24;
    const all = [...this.#shown.values()];
    const done = all.filter(({ vertex }) => vertex.completed !== undefined).length;
    const total = ((Date.now() - this.#start) / 1000).toFixed(1);
    const head = `[+] Building ${total}s (${done}/${all.length})${final && done === all.length ? " FINISHED" : ""}`;
    const body = all.flatMap((shown) => this.#lines(shown, width, final));
    const room = final ? body.length : Math.max(1, height - 2);
    const text = [head, ...body.slice(-room)];
    if (this.#drawn > 0) this.#out.write(`\x1b[${this.#drawn}A`);
    this.#out.write(text.map((line) => `\x1b[2K${line}\n`).join("") + "\x1b[0J");
    this.#drawn = text.length;
  }

  #lines({ vertex, lines, status }: Shown, width: number, final: boolean): string[] {
    const running = vertex.completed === undefined;
    const seconds = (((vertex.completed ?? Date.now()) - vertex.started!) / 1000).toFixed(1);
    const isCanceled = vertex.error?.endsWith("context canceled") === true;
    const mark = isCanceled
      ? "CANCELED "
      : vertex.error !== undefined
        ? "ERROR "
        : vertex.cached
          ? "CACHED "
          : "";
    const left = ` => ${mark}${vertex.name.replaceAll("\n", " ")}`;
    const room = width - seconds.length - 3;
    const line = `${left.slice(0, room).padEnd(room)} ${seconds}s`;
    const color = vertex.error !== undefined ? "\x1b[31m" : running ? "" : "\x1b[34m";
    const shown = [this.#hasColors ? `${color}${line}\x1b[0m` : line];
    if (running && !final) {
      if (status !== "") shown.push(` => => ${status}`.slice(0, width));
      for (const text of lines) shown.push(` => => # ${text}`.slice(0, width));
    }
    return shown;
  }
}
