// HTTP requests to registries. Plain http for loopback registries, as BuildKit and Docker have it.
import { readFileSync } from "node:fs";
import type { Readable } from "node:stream";
import { BuildError, dialError } from "../lib/index.js";
import { connectionsTo, type Trust } from "./connections.js";
import type { RegistrySettings } from "./types.js";

export interface HttpRequest {
  readonly method: "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE";
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | (() => Readable);
  readonly signal: AbortSignal;
  /** whom to trust */
  readonly trust?: Trust | undefined;
}

/** @returns `undefined` where nothing is said @throws Error if a file cannot be read */
export function readTrust({ ca, keyPairs, insecure }: RegistrySettings): Trust | undefined {
  if (ca.length === 0 && keyPairs.length === 0 && !insecure) return undefined;
  const read = (file: string): string => readFileSync(file, "utf8");
  const pairs = keyPairs.map(({ key, cert }) => ({ key: read(key), cert: read(cert) }));
  return { ca: ca.map(read), keyPairs: pairs, isBlind: insecure };
}

export interface HttpResponse {
  readonly status: number;
  /** by lower-case name; several values of one name are joined */
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly stream: Readable;
  /** reads the whole body */
  bytes(): Promise<Buffer>;
}

/** One exchange; other statuses than 2xx are not errors here. @throws BuildError REGISTRY_UNREACHABLE */
export async function exchange(request: HttpRequest): Promise<HttpResponse> {
  const { method, url, body, signal, trust } = request;
  try {
    const response = await connectionsTo(url, trust).request({
      origin: url.origin,
      path: url.pathname + url.search,
      method,
      headers: request.headers,
      signal,
      body: body instanceof Uint8Array ? body : (body?.() ?? null),
    });
    // one that nobody reads any more ends with an error
    const stream = response.body.on("error", () => undefined);
    const bytes = async (): Promise<Buffer> => Buffer.from(await stream.arrayBuffer());
    const headers = Object.fromEntries(
      Object.entries(response.headers).map(([name, value]) => [
        name,
        Array.isArray(value) ? value.join(", ") : value,
      ]),
    );
    return { status: response.statusCode, headers, stream, bytes };
  } catch (cause) {
    if (signal.aborted) throw signal.reason;
    const problem = `failed to do request: ${goMethod(method)} "${url.href}": ${dialError(cause)}`;
    throw new BuildError("REGISTRY_UNREACHABLE", problem, { cause });
  }
}

function goMethod(method: string): string {
  return method.slice(0, 1) + method.slice(1).toLowerCase();
}
