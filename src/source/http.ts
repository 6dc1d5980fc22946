// Files from http and https URLs, for ADD.
import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { BuildError, dialError, digestOf, goJson, type Digest } from "../lib/index.js";
import type { BlobStore } from "../content/index.js";

export interface HttpFile {
  readonly filename: string;
  readonly checksum: Digest;
  /** the Last-Modified header as it was sent */
  readonly lastModified: string | undefined;
  /** the content on disk */
  readonly file: string;
}

/** @param upload the content, where the client sends it itself @throws BuildError HTTP_STATUS, CHECKSUM_MISMATCH */
export async function fetchHttp(
  url: string,
  attrs: Readonly<Record<string, string>>,
  blobs: BlobStore,
  signal: AbortSignal,
  upload?: AsyncIterable<Uint8Array>,
): Promise<HttpFile> {
  const { body, lastModified } = upload
    ? { body: Readable.from(upload), lastModified: undefined }
    : await request(url, signal);
  const temporary = blobs.temporaryFile();
  const hash = createHash("sha256");
  body.on("data", (chunk: Buffer) => hash.update(chunk));
  await pipeline(body, createWriteStream(temporary));
  const checksum = `sha256:${hash.digest("hex")}` as Digest;
  const wanted = attrs["http.checksum"];
  if (wanted !== undefined && wanted !== "" && wanted !== checksum) {
    throw new BuildError("CHECKSUM_MISMATCH", `digest mismatch ${checksum}: ${wanted}`);
  }
  blobs.adopt(temporary, checksum);
  return {
    filename: attrs["http.filename"] ?? "download",
    checksum,
    lastModified,
    file: blobs.path(checksum),
  };
}

async function request(
  url: string,
  signal: AbortSignal,
): Promise<{ body: Readable; lastModified: string | undefined }> {
  const response = await fetch(url, { signal, redirect: "follow" }).catch((error: unknown) => {
    if (signal.aborted) throw error;
    // what fetch throws says nothing; its cause does
    const cause = (error as Error).cause ?? error;
    throw new BuildError("HTTP_UNREACHABLE", `Get "${url}": ${dialError(cause)}`, { cause });
  });
  if (!response.ok) throw new BuildError("HTTP_STATUS", `invalid response status ${response.status}`);
  const body = response.body ? Readable.fromWeb(response.body as never) : Readable.from([]);
  return { body, lastModified: response.headers.get("last-modified") ?? undefined };
}

/** As Go reads integers: "0644" and "0o644" are octal. */
export function intOf(text: string | undefined): number {
  return Number((text ?? "0").replace(/^0(?=[0-7])/, "0o"));
}

/** What the cache key says; the time is left out where a checksum fixes the content. */
export function httpKey(file: HttpFile, attrs: Readonly<Record<string, string>>): Digest {
  return digestOf(
    goJson({
      Filename: file.filename,
      Perm: intOf(attrs["http.perm"]),
      UID: intOf(attrs["http.uid"]),
      GID: intOf(attrs["http.gid"]),
      Checksum: file.checksum,
      LastModTime: attrs["http.checksum"] ? undefined : file.lastModified,
    }),
  );
}
