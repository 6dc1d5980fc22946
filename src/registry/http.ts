// HTTP requests to registries: kept connections, bodies as streams, redirects for blobs. Plain http for loopback
// registries, as BuildKit and Docker have it.
import { readFileSync } from "node:fs";
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import type { Readable } from "node:stream";
import { rootCertificates } from "node:tls";
import { BuildError, dialError } from "../lib/index.js";
import type { RegistrySettings } from "./types.js";

const agents = {
  "http:": new HttpAgent({ keepAlive: true, maxSockets: 32 }),
  "https:": new HttpsAgent({ keepAlive: true, maxSockets: 32 }),
};

export interface HttpRequest {
  readonly method: string;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | (() => Readable);
  readonly signal: AbortSignal;
  /** whom to trust */
  readonly trust?: Trust | undefined;
}

export interface Trust {
  /** certificates of authorities, PEM; besides the usual ones */
  readonly ca: readonly string[];
  /** certificates of ours and their keys, PEM */
  readonly keyPairs: readonly { readonly key: string; readonly cert: string }[];
  /** certificates are not checked */
  readonly isBlind: boolean;
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
  readonly headers: IncomingMessage["headers"];
  readonly stream: IncomingMessage;
  /** reads the whole body */
  bytes(): Promise<Buffer>;
}

/** One exchange; other statuses than 2xx are not errors here. @throws BuildError REGISTRY_UNREACHABLE */
export function exchange({ method, url, headers, body, signal, trust }: HttpRequest): Promise<HttpResponse> {
  return new Promise((resolve, reject) => {
    const send = url.protocol === "https:" ? httpsRequest : httpRequest;
    const agent = url.protocol === "https:" ? agents["https:"] : agents["http:"];
    const request = send(url, { method, headers, agent, signal, ...(trust && tlsOptions(trust)) });
    request.once("response", (stream) => {
      resolve({
        status: stream.statusCode ?? 0,
        headers: stream.headers,
        stream,
        bytes: async () => {
          const chunks: Buffer[] = [];
          for await (const chunk of stream) chunks.push(chunk as Buffer);
          return Buffer.concat(chunks);
        },
      });
    });
    request.once("error", (cause) => {
      if (signal.aborted) reject(signal.reason as Error);
      else
        reject(
          new BuildError(
            "REGISTRY_UNREACHABLE",
            `failed to do request: ${goMethod(method)} "${url.href}": ${dialError(cause)}`,
            { cause },
          ),
        );
    });
    if (body instanceof Uint8Array) request.end(body);
    else if (body)
      body()
        .once("error", (error) => request.destroy(error))
        .pipe(request);
    else request.end();
  });
}

function tlsOptions({ ca, keyPairs, isBlind }: Trust): object {
  return {
    rejectUnauthorized: !isBlind,
    ...(ca.length > 0 && { ca: [...rootCertificates, ...ca] }),
    ...(keyPairs.length > 0 && {
      key: keyPairs.map(({ key }) => key),
      cert: keyPairs.map(({ cert }) => cert),
    }),
  };
}

function goMethod(method: string): string {
  return method.slice(0, 1) + method.slice(1).toLowerCase();
}
