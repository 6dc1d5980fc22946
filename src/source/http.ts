// Files from http and https URLs, for ADD. What a URL had is remembered by its ETag: it is asked whether that still holds,
// and downloaded only if it does not.
// Source of the rules: BuildKit's http source, as its tests and recordings show it.
import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { basename } from "node:path";
import { PassThrough, Readable, type Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { BuildError, dialError, digestOf, goJson, isDigest, type Digest } from "../lib/index.js";
import type { BlobStore, Table } from "../content/index.js";
import { connectionsTo } from "../registry/index.js";

/** What a URL had. */
export interface HttpFile {
  readonly filename: string;
  readonly checksum: Digest;
  /** the Last-Modified header as it was sent */
  readonly lastModified: string | undefined;
  /** "" if there was none */
  readonly etag: string;
}

export interface HttpRequest {
  readonly url: string;
  readonly attrs: Readonly<Record<string, string>>;
  /** the header of this name; from a secret */
  readonly authorization: string | undefined;
  /** the content, where the client sends it itself */
  readonly upload: AsyncIterable<Uint8Array> | undefined;
}

/** What a server answers. */
interface HttpAnswer {
  readonly status: number;
  header(name: string): string | undefined;
  readonly body: Readable;
}

/** Places that one URL may be sent on to, one after another: as many as Go follows. */
const REDIRECTS = 10;

/** Contents of one URL that are remembered. */
const MAX_KNOWN = 10;
const HEADER = "http.header.";
const HEADERS: Readonly<Record<string, string>> = { accept: "Accept", "user-agent": "User-Agent" };

/** Servers that know BuildKit take this for it. */
const USER_AGENT = "buildkit/v0.25 bluekiln";

export class HttpSource {
  readonly #blobs: BlobStore;
  readonly #known: Table<readonly HttpFile[]>;

  constructor(blobs: BlobStore, known: Table<readonly HttpFile[]>) {
    this.#blobs = blobs;
    this.#known = known;
  }

  /** @throws BuildError HTTP_STATUS, HTTP_UNREACHABLE */
  async resolve(request: HttpRequest, signal: AbortSignal): Promise<HttpFile> {
    const { url, attrs, upload } = request;
    const wanted = attrs["http.checksum"] ?? "";
    // what it has to have says everything
    if (isDigest(wanted))
      return { filename: filenameOf(url, attrs), checksum: wanted, lastModified: undefined, etag: "" };
    if (upload) return this.#fetch(request, signal);
    const known = (this.#known.get(keyOf(request)) ?? []).filter(({ etag }) => etag !== "");
    const same = known.length > 0 ? await this.#unchanged(request, known, signal) : undefined;
    if (same) return same;
    return this.#download(request, signal);
  }

  /**
   * What was resolved, with its content, and its time if that was not known.
   * @throws BuildError HTTP_STATUS, HTTP_UNREACHABLE, CHECKSUM_MISMATCH
   */
  async content(
    request: HttpRequest,
    { filename, checksum }: HttpFile,
    signal: AbortSignal,
  ): Promise<{ readonly path: string; readonly file: HttpFile }> {
    const known = this.#known.get(keyOf(request))?.find((one) => one.checksum === checksum);
    const isHere = this.#blobs.has(checksum) && (known !== undefined || request.upload !== undefined);
    const file = isHere
      ? (known ?? { filename, checksum, lastModified: undefined, etag: "" })
      : await this.#fetch(request, signal);
    if (file.checksum !== checksum)
      throw new BuildError("CHECKSUM_MISMATCH", `digest mismatch ${file.checksum}: ${checksum}`);
    return { path: this.#blobs.path(checksum), file: { ...file, filename } };
  }

  async #fetch(request: HttpRequest, signal: AbortSignal): Promise<HttpFile> {
    if (!request.upload) return this.#download(request, signal);
    const checksum = await this.#store(Readable.from(request.upload));
    return { filename: filenameOf(request.url, request.attrs), checksum, lastModified: undefined, etag: "" };
  }

  /** Some servers have ETags and yet don't hear If-None-Match: they are compared here, and nothing is downloaded. */
  async #unchanged(
    request: HttpRequest,
    known: readonly HttpFile[],
    signal: AbortSignal,
  ): Promise<HttpFile | undefined> {
    const headers = { "if-none-match": known.map(({ etag }) => etag).join(", ") };
    const response = await send(request, "HEAD", headers, signal).catch(() => undefined);
    signal.throwIfAborted();
    response?.body.resume();
    if (!response || (response.status !== 200 && response.status !== 304)) return undefined;
    const etag = etagOf(response) || (response.status === 304 && known.length === 1 ? known[0]!.etag : "");
    return known.find((file) => comparable(file.etag) === comparable(etag));
  }

  async #download(request: HttpRequest, signal: AbortSignal): Promise<HttpFile> {
    const response = await send(request, "GET", {}, signal);
    if (response.status < 200 || response.status > 299) {
      response.body.destroy();
      throw new BuildError("HTTP_STATUS", `invalid response status ${response.status}`);
    }
    const isPacked = response.header("content-encoding")?.toLowerCase() === "gzip";
    const checksum = await this.#store(response.body, isPacked ? createGunzip() : new PassThrough());
    const file = {
      filename: filenameOf(request.url, request.attrs, response.header("content-disposition")),
      checksum,
      lastModified: response.header("last-modified"),
      etag: etagOf(response),
    };
    const key = keyOf(request);
    const others = (this.#known.get(key) ?? []).filter(
      (one) => one.checksum !== checksum && (one.etag === "" || one.etag !== file.etag),
    );
    await this.#known.put(key, [file, ...others].slice(0, MAX_KNOWN));
    return file;
  }

  async #store(body: Readable, unpack: Transform = new PassThrough()): Promise<Digest> {
    const temporary = this.#blobs.temporaryFile();
    const hash = createHash("sha256");
    unpack.on("data", (chunk: Buffer) => hash.update(chunk));
    await pipeline(body, unpack, createWriteStream(temporary));
    const checksum = `sha256:${hash.digest("hex")}` as Digest;
    this.#blobs.adopt(temporary, checksum);
    return checksum;
  }
}

async function send(
  { url, attrs, authorization }: HttpRequest,
  method: "GET" | "HEAD",
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<HttpAnswer> {
  const all = {
    "user-agent": USER_AGENT,
    // as Go's client asks of itself
    "accept-encoding": "gzip",
    ...Object.fromEntries(headersOf(attrs).map(({ Name, Value }) => [Name.toLowerCase(), Value])),
    ...headers,
    ...(authorization !== undefined && { authorization }),
  };
  try {
    return await follow(new URL(url), method, all, signal);
  } catch (cause) {
    if (signal.aborted) throw cause;
    const asked = method === "GET" ? "Get" : "Head";
    throw new BuildError("HTTP_UNREACHABLE", `${asked} "${url}": ${dialError(cause)}`, { cause });
  }
}

/** Asks where a URL leads, each place as the environment says for it; only the first is told who asks. */
async function follow(
  url: URL,
  method: "GET" | "HEAD",
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<HttpAnswer> {
  let at = url;
  for (let hop = 0; ; hop++) {
    const { authorization, ...others } = headers;
    const isFirst = at.host === url.host;
    const response = await connectionsTo(at).request({
      origin: at.origin,
      path: at.pathname + at.search,
      method,
      headers: isFirst && authorization !== undefined ? headers : others,
      signal,
    });
    // one that nobody reads any more ends with an error
    response.body.on("error", () => undefined);
    const location = first(response.headers["location"]);
    if (![301, 302, 303, 307, 308].includes(response.statusCode) || location === undefined)
      return {
        status: response.statusCode,
        header: (name) => first(response.headers[name]),
        body: response.body,
      };
    await response.body.dump();
    if (hop === REDIRECTS) throw new Error(`stopped after ${REDIRECTS} redirects`);
    at = new URL(location, at);
  }
}

function first(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value;
}

function etagOf(response: HttpAnswer): string {
  return response.header("etag") ?? "";
}

/** Weak ones are compared as if they were strong. */
function comparable(etag: string): string {
  return etag.replace(/^W\//, "");
}

/** The headers that a graph may set, by their names as Go writes them, in order. */
function headersOf(attrs: Readonly<Record<string, string>>): { Name: string; Value: string }[] {
  return Object.entries(attrs)
    .filter(([key]) => key.startsWith(HEADER))
    .map(([key, Value]) => ({ Name: HEADERS[key.slice(HEADER.length).toLowerCase()] ?? "", Value }))
    .filter(({ Name }) => Name !== "")
    .sort((a, b) => (a.Name < b.Name ? -1 : 1));
}

/** What is asked for, as far as its answer is remembered. */
function keyOf({ url, attrs }: HttpRequest): string {
  const about = Object.entries(attrs).filter(([key]) => key.startsWith("http."));
  return createHash("sha256")
    .update(JSON.stringify([url, about.sort()]))
    .digest("hex");
}

function filenameOf(url: string, attrs: Readonly<Record<string, string>>, disposition = ""): string {
  const [, quoted, plain] = /;\s*filename=(?:"((?:[^"\\]|\\.)*)"|([^;\s]+))/i.exec(disposition) ?? [];
  const sent = quoted?.replace(/\\(.)/g, "$1") ?? plain ?? "";
  const inUrl = basename(decodeURIComponent(new URL(url).pathname));
  return attrs["http.filename"] || (sent.endsWith("/") ? "" : basename(sent)) || inUrl || "download";
}

/** As Go reads integers: "0644" and "0o644" are octal. */
export function intOf(text: string | undefined): number {
  return Number((text ?? "0").replace(/^0(?=[0-7])/, "0o"));
}

/** What the cache key says; the time is left out where a checksum fixes the content. */
export function httpKey(file: HttpFile, attrs: Readonly<Record<string, string>>): Digest {
  const headers = headersOf(attrs);
  return digestOf(
    goJson({
      Filename: file.filename,
      Perm: intOf(attrs["http.perm"]),
      UID: intOf(attrs["http.uid"]),
      GID: intOf(attrs["http.gid"]),
      Checksum: file.checksum,
      LastModTime: attrs["http.checksum"] ? undefined : file.lastModified,
      AuthHeaderSecret: attrs["http.authheadersecret"] || undefined,
      Header: headers.length > 0 ? headers : undefined,
    }),
  );
}
