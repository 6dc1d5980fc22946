// Requests through the proxies that the environment names.
import { Readable } from "node:stream";
import { EnvHttpProxyAgent } from "undici";
import { PIECE, piecesOf, sizeOf } from "./pieces.js";
import type { FilePart, StorageRequest, StorageResponse, Transport } from "./types.js";

/** Milliseconds after which an idle connection is closed: sooner than Azure closes it. */
const KEEP_ALIVE = 20_000;

export class ProxiedTransport implements Transport {
  // how long nothing may move is watched by who asks
  readonly #agent = new EnvHttpProxyAgent({
    keepAliveTimeout: KEEP_ALIVE,
    headersTimeout: 0,
    bodyTimeout: 0,
  });

  async send({ method, url, headers, body, signal, moved, take }: StorageRequest): Promise<StorageResponse> {
    const response = await this.#agent.request({
      origin: url.origin,
      path: url.pathname + url.search,
      method: method,
      headers: { ...headers, "content-length": String(sizeOf(body)) },
      body: sizeOf(body) > 0 ? Readable.from(sending(body, moved)) : null,
      ...(signal && { signal }),
    });
    const chunks: Buffer[] = [];
    let broken: Error | undefined;
    try {
      for await (const chunk of response.body as AsyncIterable<Buffer>) {
        moved();
        if (take && response.statusCode === 206) await take(chunk);
        else chunks.push(chunk);
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

async function* sending(body: Buffer | FilePart, moved: () => void): AsyncGenerator<Buffer> {
  for await (const piece of piecesOf(body, () => Buffer.allocUnsafeSlow(PIECE))) {
    moved();
    yield piece;
  }
}
