// Requests through the proxies that the environment names.
import { Readable } from "node:stream";
import { EnvHttpProxyAgent } from "undici";
import type { StorageRequest, StorageResponse, Transport } from "./types.js";

/** Milliseconds after which an idle connection is closed: sooner than Azure closes it. */
const KEEP_ALIVE = 20_000;
/** Bytes that are sent at once: how finely it is known that something moves. */
const SLICE = 256 << 10;

export class ProxiedTransport implements Transport {
  // how long nothing may move is watched by who asks
  readonly #agent = new EnvHttpProxyAgent({
    keepAliveTimeout: KEEP_ALIVE,
    headersTimeout: 0,
    bodyTimeout: 0,
  });

  async send({ method, url, headers, body, signal, moved }: StorageRequest): Promise<StorageResponse> {
    const response = await this.#agent.request({
      origin: url.origin,
      path: url.pathname + url.search,
      method: method,
      headers: { ...headers, "content-length": String(body.length) },
      body: body.length > 0 ? Readable.from(slices(body, moved)) : null,
      ...(signal && { signal }),
    });
    const chunks: Buffer[] = [];
    let broken: Error | undefined;
    try {
      for await (const chunk of response.body as AsyncIterable<Buffer>) {
        moved();
        chunks.push(chunk);
      }
    } catch (error) {
      broken = error as Error;
    }
    const lines = Object.entries(response.headers).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, Array.isArray(value) ? value.join(", ") : value] as const],
    );
    return {
      status: response.statusCode,
      headers: Object.fromEntries(lines),
      body: Buffer.concat(chunks),
      ...(broken && { broken }),
    };
  }
}

function* slices(body: Buffer, moved: () => void): Generator<Buffer> {
  for (let at = 0; at < body.length; at += SLICE) {
    moved();
    yield body.subarray(at, at + SLICE);
  }
}
