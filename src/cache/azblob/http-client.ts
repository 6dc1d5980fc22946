// Requests of the Azure SDK over connections of our own, or where the environment names a proxy (HTTPS_PROXY,
// NO_PROXY), through undici, which honours it as everybody does.
import { toHttpHeadersLike, type CompatResponse, type WebResourceLike } from "@azure/core-http-compat";
import { createHttpHeaders, RestError } from "@azure/core-rest-pipeline";
import { Readable } from "node:stream";
import { codeOf, messageOf } from "../../lib/index.js";
import { Http1Client } from "./http1-client.js";
import type { RequestFlow, StorageRequest, StorageResponse, Transport } from "./types.js";

/** What the SDK takes as its client. */
export interface StorageHttpClient {
  sendRequest(request: WebResourceLike): Promise<CompatResponse>;
}

/**
 * One client for all requests of a container.
 * @param flowOf what there is to know of the request with this signal
 */
export function httpClient(flowOf: (signal: AbortSignal) => RequestFlow | undefined): StorageHttpClient {
  const transport = hasProxy(process.env) ? proxied() : Promise.resolve(new Http1Client());
  return { sendRequest: async (request) => send(await transport, request, flowOf) };
}

function hasProxy(env: NodeJS.ProcessEnv): boolean {
  return ["http_proxy", "https_proxy"].some((name) => (env[name] ?? env[name.toUpperCase()] ?? "") !== "");
}

async function proxied(): Promise<Transport> {
  const { ProxiedTransport } = await import("./proxied-transport.js");
  return new ProxiedTransport();
}

async function send(
  transport: Transport,
  request: WebResourceLike,
  flowOf: (signal: AbortSignal) => RequestFlow | undefined,
): Promise<CompatResponse> {
  const signal = request.abortSignal as AbortSignal | undefined;
  const flow = signal && flowOf(signal);
  // what is stored is wanted as it is
  request.headers.remove("accept-encoding");
  let response: StorageResponse;
  try {
    response = await transport.send({
      method: request.method,
      url: new URL(request.url),
      headers: request.headers.toJson(),
      body: flow?.body ?? bytesOf(request.body as Buffer | string | undefined),
      signal,
      moved: () => flow?.moved(),
      take: flow?.take,
    } satisfies StorageRequest);
  } catch (error) {
    throw failed(error);
  }
  const { status, headers, body, broken } = response;
  const isStream = request.streamResponseStatusCodes?.has(status) === true;
  if (broken && (!isStream || flow?.take)) throw failed(broken);
  return {
    request,
    status,
    headers: toHttpHeadersLike(createHttpHeaders(headers)),
    ...(isStream
      ? { readableStreamBody: flow?.take ? new Readable({ read: nothing }) : streamOf(body, broken) }
      : { bodyAsText: new TextDecoder().decode(body) }),
  };
}

function bytesOf(body: Buffer | string | undefined): Buffer {
  return typeof body === "string" ? Buffer.from(body) : (body ?? Buffer.alloc(0));
}

/** What there is of a body, and then why there is no more. */
function streamOf(body: Buffer, broken: Error | undefined): Readable {
  let left: Buffer | undefined = body.length > 0 ? body : undefined;
  return new Readable({
    highWaterMark: 1,
    read(): void {
      const next = left;
      left = undefined;
      if (next) this.push(next);
      else if (broken) this.destroy(broken);
      else this.push(null);
    },
  });
}

/** What was taken as it came is not there to be read: not even its end, which would be too soon. */
function nothing(): void {}

function failed(error: unknown): RestError {
  // of several addresses, none of which answers
  const first = error instanceof AggregateError ? (error.errors[0] as unknown) : error;
  return new RestError(messageOf(first), { code: codeOf(error) ?? RestError.REQUEST_SEND_ERROR });
}
