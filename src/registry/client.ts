// The OCI distribution protocol: resolve, fetch, push. One client for one registry and repository scope at a time;
// tokens are kept by scope.
import { createReadStream } from "node:fs";
import { BuildError, digestOf, messageOf, parseDigest, type Digest } from "../lib/index.js";
import { resumable, type Descriptor, type StreamProvider } from "../content/index.js";
import type { CredentialSource } from "./credentials.js";
import { isLoopback, type Trust } from "./connections.js";
import { exchange, readTrust, type HttpRequest, type HttpResponse } from "./http.js";
import { formatReference, type Reference } from "./reference.js";
import type { RegistrySettings } from "./types.js";

export const MANIFEST_TYPES = [
  "application/vnd.docker.distribution.manifest.v2+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.oci.image.index.v1+json",
];

export interface Manifest {
  readonly descriptor: Descriptor;
  readonly data: Buffer;
}

type SendOptions = {
  readonly method: HttpRequest["method"];
  readonly headers: Record<string, string>;
  readonly signal: AbortSignal;
  readonly body?: HttpRequest["body"];
} & ({ readonly path: string; readonly url?: undefined } | { readonly url: URL; readonly path?: undefined });

export class RegistryClient {
  readonly #credentials: CredentialSource;
  readonly #settings: ReadonlyMap<string, RegistrySettings>;
  readonly #trust = new Map<string, Trust | undefined>();
  readonly #tokens = new Map<string, Promise<string | undefined>>();
  /** registries that are asked over plain http */
  readonly #insecure = new Set<string>();
  /** uploads under way, by repository and digest */
  readonly #pushing = new Map<string, Promise<unknown>>();

  /** @param settings by the registry's domain, or a mirror's */
  constructor(credentials: CredentialSource, settings: ReadonlyMap<string, RegistrySettings> = new Map()) {
    this.#credentials = credentials;
    this.#settings = settings;
  }

  /** From now on a registry is asked over plain http, as those on this machine are anyway. */
  allowInsecure(domain: string): void {
    this.#insecure.add(domain);
  }

  /** The manifest or index of a tag or digest. @throws BuildError IMAGE_NOT_FOUND, REGISTRY_* */
  async manifest(reference: Reference, signal: AbortSignal): Promise<Manifest> {
    const text = formatReference(reference);
    const response = await this.#send(reference, "pull", {
      method: "GET",
      path: `manifests/${reference.digest ?? reference.tag ?? "latest"}`,
      headers: { accept: [...MANIFEST_TYPES, "*/*"].join(", ") },
      signal,
    });
    const data = await response.bytes();
    if (response.status === 404) throw new BuildError("IMAGE_NOT_FOUND", `${text}: not found`);
    if (response.status !== 200) throw statusError(response, data, `failed to fetch ${text}`);
    const digest = digestOf(data);
    if (reference.digest !== undefined && digest !== reference.digest) {
      throw new BuildError("BLOB_CORRUPT", `${text}: the registry sent a manifest with digest ${digest}`);
    }
    const mediaType =
      (JSON.parse(data.toString()) as { mediaType?: string }).mediaType ?? contentType(response);
    return { descriptor: { mediaType, digest, size: data.length }, data };
  }

  /** A blob of a repository; a broken transfer goes on where it stopped. */
  blobs(reference: Reference): StreamProvider {
    return {
      name: `${reference.domain}/${reference.path}`,
      open: async (descriptor, signal) =>
        resumable(
          descriptor,
          async (offset) => {
            const { status, stream } = await this.#openBlob(reference, descriptor, offset, signal);
            return offset === 0 || status === 206 ? stream : undefined;
          },
          signal,
        ),
    };
  }

  /** A small blob, verified. @throws BuildError BLOB_CORRUPT, REGISTRY_* */
  async readBlob(reference: Reference, descriptor: Descriptor, signal: AbortSignal): Promise<Buffer> {
    const chunks: Uint8Array[] = [];
    for await (const chunk of await this.blobs(reference).open(descriptor, signal)) chunks.push(chunk);
    const data = Buffer.concat(chunks);
    if (digestOf(data) !== descriptor.digest)
      throw new BuildError(
        "BLOB_CORRUPT",
        `${reference.domain}/${reference.path}: blob ${descriptor.digest} has another content`,
      );
    return data;
  }

  async #openBlob(
    reference: Reference,
    descriptor: Descriptor,
    offset: number,
    signal: AbortSignal,
  ): Promise<HttpResponse> {
    const response = await this.#send(reference, "pull", {
      method: "GET",
      path: `blobs/${descriptor.digest}`,
      headers: offset > 0 ? { range: `bytes=${offset}-` } : {},
      signal,
    });
    if (response.status === 200 || response.status === 206) return response;
    const data = await response.bytes();
    throw statusError(
      response,
      data,
      `failed to fetch ${reference.domain}/${reference.path}@${descriptor.digest}`,
    );
  }

  /** Whether the tag already stands for this manifest: then all that it names is there too. */
  async hasTag(reference: Reference, digest: Digest, signal: AbortSignal): Promise<boolean> {
    if (reference.tag === undefined) return false;
    const response = await this.#send(reference, "push", {
      method: "HEAD",
      path: `manifests/${reference.tag}`,
      headers: { accept: MANIFEST_TYPES.join(", ") },
      signal,
    });
    await response.bytes();
    return response.status === 200 && response.headers["docker-content-digest"] === digest;
  }

  async hasBlob(reference: Reference, digest: Digest, signal: AbortSignal): Promise<boolean> {
    const response = await this.#send(reference, "push", {
      method: "HEAD",
      path: `blobs/${digest}`,
      headers: {},
      signal,
    });
    await response.bytes();
    return response.status === 200;
  }

  /**
   * Uploads a blob (a file or bytes, asked for only if needed) unless it is there; with `mountFrom`, takes it over from
   * another repository of the registry. Who wants the same at the same time waits for it.
   */
  async pushBlob(
    reference: Reference,
    descriptor: Descriptor,
    content: () => Promise<string | Uint8Array>,
    mountFrom: string | undefined,
    signal: AbortSignal,
  ): Promise<"existing" | "mounted" | "pushed"> {
    const key = `${reference.domain}/${reference.path}@${descriptor.digest}`;
    for (let other = this.#pushing.get(key); other; other = this.#pushing.get(key)) {
      try {
        await other;
        return "existing";
      } catch {
        // theirs failed, or was canceled
        signal.throwIfAborted();
      }
    }
    const own = this.#pushBlob(reference, descriptor, content, mountFrom, signal).finally(() =>
      this.#pushing.delete(key),
    );
    this.#pushing.set(key, own);
    return own;
  }

  async #pushBlob(
    reference: Reference,
    descriptor: Descriptor,
    content: () => Promise<string | Uint8Array>,
    mountFrom: string | undefined,
    signal: AbortSignal,
  ): Promise<"existing" | "mounted" | "pushed"> {
    if (await this.hasBlob(reference, descriptor.digest, signal)) return "existing";
    const query =
      mountFrom === undefined ? "" : `?mount=${descriptor.digest}&from=${encodeURIComponent(mountFrom)}`;
    const start = await this.#send(reference, "push", {
      method: "POST",
      path: `blobs/uploads/${query}`,
      headers: { "content-length": "0" },
      signal,
    });
    const startBody = await start.bytes();
    if (start.status === 201) return "mounted";
    const location = start.headers.location;
    if (start.status !== 202 || location === undefined)
      throw statusError(start, startBody, `failed to push ${formatReference(reference)}`);
    const file = await content();
    const url = new URL(location, this.#base(reference));
    url.searchParams.set("digest", descriptor.digest);
    const response = await this.#send(reference, "push", {
      method: "PUT",
      url,
      headers: { "content-type": "application/octet-stream", "content-length": String(descriptor.size) },
      body: typeof file === "string" ? () => createReadStream(file, { highWaterMark: 1 << 20 }) : file,
      signal,
    });
    const data = await response.bytes();
    if (response.status !== 201)
      throw statusError(response, data, `failed to push ${formatReference(reference)}`);
    return "pushed";
  }

  async pushManifest(
    reference: Reference,
    mediaType: string,
    data: Uint8Array,
    signal: AbortSignal,
  ): Promise<Digest> {
    const digest = digestOf(data);
    const response = await this.#send(reference, "push", {
      method: "PUT",
      path: `manifests/${reference.tag ?? digest}`,
      headers: { "content-type": mediaType, "content-length": String(data.length) },
      body: data,
      signal,
    });
    const body = await response.bytes();
    if (response.status !== 201 && response.status !== 200) {
      throw statusError(response, body, `failed to push ${formatReference(reference)}`);
    }
    const answered = response.headers["docker-content-digest"];
    return typeof answered === "string" ? parseDigest(answered) : digest;
  }

  #base(reference: Reference, host = reference.domain): URL {
    const name = host === "docker.io" ? "registry-1.docker.io" : host;
    const plain = this.#settings.get(host)?.http ?? (isLoopback(name) || this.#insecure.has(host));
    return new URL(`${plain ? "http" : "https"}://${name}/v2/${reference.path}/`);
  }

  /** Whom to trust for a host. @throws Error if a file with certificates cannot be read */
  #trustOf(host: string): Trust | undefined {
    const known = this.#settings.get(host);
    if (known && !this.#trust.has(host)) this.#trust.set(host, readTrust(known));
    return this.#trust.get(host);
  }

  /** Mirrors first, where something is pulled; one that has not got it, or cannot be reached, is passed over. */
  async #send(reference: Reference, access: "pull" | "push", options: SendOptions): Promise<HttpResponse> {
    const mirrors = access === "pull" ? (this.#settings.get(reference.domain)?.mirrors ?? []) : [];
    for (const mirror of mirrors) {
      try {
        const response = await this.#sendTo(mirror, reference, access, options);
        if (response.status < 300) return response;
        await response.bytes();
      } catch (error) {
        if (options.signal.aborted) throw error;
      }
    }
    return this.#sendTo(reference.domain, reference, access, options);
  }

  async #sendTo(
    host: string,
    reference: Reference,
    access: "pull" | "push",
    options: SendOptions,
  ): Promise<HttpResponse> {
    let url = options.url ?? new URL(options.path, this.#base(reference, host));
    const scope = `repository:${reference.path}:${access === "push" ? "pull,push" : "pull"}`;
    const origin = url.host;
    for (let attempt = 0, redirects = 0; ;) {
      const token = url.host === origin ? await this.#tokens.get(`${host} ${scope}`) : undefined;
      const { method, signal } = options;
      const response = await exchange({
        method,
        url,
        headers: {
          ...options.headers,
          "user-agent": "bluekiln",
          ...(token !== undefined && { authorization: token }),
        },
        ...(options.body && { body: options.body }),
        signal,
        trust: this.#trustOf(host),
      });
      if (
        [301, 302, 303, 307, 308].includes(response.status) &&
        response.headers.location !== undefined &&
        redirects++ < 10
      ) {
        await response.bytes();
        url = new URL(response.headers.location, url);
        continue;
      }
      if (response.status !== 401 || attempt++ > 0) return response;
      const challenge = response.headers["www-authenticate"];
      await response.bytes();
      const authorization = this.#authorize(host, scope, challenge ?? "", signal);
      this.#tokens.set(`${host} ${scope}`, authorization);
      await authorization;
    }
  }

  async #authorize(
    domain: string,
    scope: string,
    challenge: string,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    const credentials = await this.#credentials.credentials(domain);
    const basic =
      credentials && credentials.username !== ""
        ? `Basic ${Buffer.from(`${credentials.username}:${credentials.password.reveal()}`).toString("base64")}`
        : undefined;
    if (/^basic/i.test(challenge)) {
      if (basic === undefined)
        throw new BuildError("REGISTRY_UNAUTHORIZED", `${domain}: no basic auth credentials`);
      return basic;
    }
    const parameters = new Map(
      [...challenge.matchAll(/(\w+)="([^"]*)"/g)].map((match) => [match[1]!, match[2]!]),
    );
    const realm = parameters.get("realm");
    if (!/^bearer/i.test(challenge) || realm === undefined) {
      throw new BuildError(
        "REGISTRY_UNAUTHORIZED",
        `${domain}: unsupported authentication challenge "${challenge}"`,
      );
    }
    const url = new URL(realm);
    const service = parameters.get("service") ?? "";
    const token = credentials?.identityToken;
    const fields = { service, scope, client_id: "bluekiln" };
    const response = token
      ? await exchange({
          method: "POST",
          url,
          headers: { "content-type": "application/x-www-form-urlencoded" },
          body: Buffer.from(
            new URLSearchParams({
              ...fields,
              grant_type: "refresh_token",
              refresh_token: token.reveal(),
            }).toString(),
          ),
          signal,
          trust: this.#trustOf(domain),
        })
      : await exchange({
          method: "GET",
          url: withQuery(url, { service, scope }),
          headers: basic === undefined ? {} : { authorization: basic },
          signal,
          trust: this.#trustOf(domain),
        });
    const data = await response.bytes();
    if (response.status !== 200) {
      throw new BuildError(
        "REGISTRY_UNAUTHORIZED",
        `failed to authorize: failed to fetch ${basic === undefined && !token ? "anonymous" : "oauth"} token: unexpected status from ${url.origin}${url.pathname}: ${response.status}`,
      );
    }
    const answer = JSON.parse(data.toString()) as { token?: string; access_token?: string };
    return `Bearer ${answer.token ?? answer.access_token ?? ""}`;
  }
}

function withQuery(url: URL, fields: Readonly<Record<string, string>>): URL {
  const result = new URL(url);
  for (const [key, value] of Object.entries(fields)) if (value !== "") result.searchParams.set(key, value);
  return result;
}

function contentType(response: HttpResponse): string {
  return (response.headers["content-type"] ?? "").split(";")[0]!.trim();
}

function statusError(response: HttpResponse, body: Buffer, what: string): BuildError {
  let detail = "";
  try {
    const { errors } = JSON.parse(body.toString()) as { errors?: { code?: string; message?: string }[] };
    detail = (errors ?? []).map(({ code, message }) => `: ${code ?? ""}: ${message ?? ""}`).join("");
  } catch (error) {
    void messageOf(error);
  }
  const code =
    response.status === 401 || response.status === 403 ? "REGISTRY_UNAUTHORIZED" : "REGISTRY_FAILED";
  const denied = response.status === 403 ? ": authorization failed" : "";
  return new BuildError(code, `${what}: unexpected status: ${response.status}${denied}${detail}`);
}
