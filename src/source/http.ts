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

/** @throws BuildError HTTP_STATUS, CHECKSUM_MISMATCH */
export async function fetchHttp(
  url: string,
  attrs: Readonly<Record<string, string>>,
  blobs: BlobStore,
  signal: AbortSignal,
): Promise<HttpFile> {
  const response = await fetch(url, { signal, redirect: "follow" }).catch((error: unknown) => {
    if (signal.aborted) throw error;
    // what fetch throws says nothing; its cause does
    const cause = (error as Error).cause ?? error;
    throw new BuildError("HTTP_UNREACHABLE", `Get "${url}": ${dialError(cause)}`, { cause });
  });
  if (!response.ok) throw new BuildError("HTTP_STATUS", `invalid response status ${response.status}`);
  const temporary = blobs.temporaryFile();
  const hash = createHash("sha256");
  const body = response.body ? Readable.fromWeb(response.body as never) : Readable.from([]);
  body.on("data", (chunk: Buffer) => hash.update(chunk));
  await pipeline(body, createWriteStream(temporary));
  const checksum = `sha256:${hash.digest("hex")}` as Digest;
  const wanted = attrs["http.checksum"];
  if (wanted !== undefined && wanted !== "" && wanted !== checksum) {
    throw new BuildError("CHECKSUM_MISMATCH", `digest mismatch ${checksum}: ${wanted}`);
  }
  blobs.adopt(temporary, checksum);
  const lastModified = response.headers.get("last-modified") ?? undefined;
  return {
    filename: attrs["http.filename"] ?? "download",
    checksum,
    lastModified,
    file: blobs.path(checksum),
  };
}

/** What the cache key says; the time is left out where a checksum fixes the content. */
export function httpKey(file: HttpFile, attrs: Readonly<Record<string, string>>): Digest {
  return digestOf(
    goJson({
      Filename: file.filename,
      Perm: 0,
      UID: 0,
      GID: 0,
      Checksum: file.checksum,
      LastModTime: attrs["http.checksum"] ? undefined : file.lastModified,
    }),
  );
}
