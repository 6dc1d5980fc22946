// --progress=rawjson: BuildKit's status messages as one JSON object a line.
import type { ProgressEvent } from "../../progress/index.js";

export function rawJson(event: ProgressEvent): string {
  const time = (ms: number | undefined): string | undefined =>
    ms === undefined ? undefined : new Date(ms).toISOString();
  switch (event.kind) {
    case "vertex": {
      const { digest, name, inputs, started, completed, cached, error } = event.vertex;
      const vertex = {
        digest,
        inputs: inputs.length > 0 ? inputs : undefined,
        name,
        started: time(started),
        completed: time(completed),
        cached: cached || undefined,
        error,
      };
      return JSON.stringify({ vertexes: [vertex] });
    }
    case "status": {
      const { id, vertex, current, total, started, completed } = event;
      const timestamp = time(completed ?? started);
      return JSON.stringify({
        statuses: [
          {
            id,
            vertex,
            name: id,
            total,
            current,
            timestamp,
            started: time(started),
            completed: time(completed),
          },
        ],
      });
    }
    case "log":
      return JSON.stringify({
        logs: [
          {
            vertex: event.vertex,
            stream: event.stream,
            data: Buffer.from(event.data).toString("base64"),
            timestamp: time(event.time),
          },
        ],
      });
    case "warning": {
      const base64 = (data: string | Uint8Array): string => Buffer.from(data).toString("base64");
      const { vertex, text, about } = event;
      const more = about && {
        detail: about.detail.map(base64),
        url: about.url,
        sourceInfo: {
          filename: about.source.filename,
          data: base64(about.source.data),
          language: about.source.language,
        },
        range: about.ranges,
      };
      return JSON.stringify({ warnings: [{ vertex, level: 1, short: base64(text), ...more }] });
    }
  }
}
