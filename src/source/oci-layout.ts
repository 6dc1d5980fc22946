// Images in a folder: an OCI image layout, looked at as a registry is.
import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { BuildError, codeOf, digestOf, hexOf } from "../lib/index.js";
import type { BlobProvider } from "../content/index.js";
import type { Manifest, Reference } from "../registry/index.js";
import { mediaTypeOf } from "./store-layout.js";

interface Entry {
  readonly digest: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

export class OciLayout {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** @throws BuildError IMAGE_NOT_FOUND, BLOB_CORRUPT */
  async manifest({ digest }: Reference): Promise<Manifest> {
    if (digest === undefined) throw new BuildError("IMAGE_NOT_FOUND", `${this.#folder}: no digest is given`);
    let data: Buffer;
    try {
      data = await readFile(join(this.#folder, "blobs", "sha256", hexOf(digest)));
    } catch (cause) {
      if (codeOf(cause) !== "ENOENT") throw cause;
      throw new BuildError("IMAGE_NOT_FOUND", `${this.#folder}@${digest}: not found`, { cause });
    }
    if (digestOf(data) !== digest)
      throw new BuildError("BLOB_CORRUPT", `${this.#folder}: blob ${digest} has another content`);
    return { descriptor: { mediaType: mediaTypeOf(data), digest, size: data.length }, data };
  }

  blobs(): BlobProvider {
    return {
      name: `oci-layout ${this.#folder}`,
      open: async ({ digest }) => createReadStream(join(this.#folder, "blobs", "sha256", hexOf(digest))),
    };
  }
}

/**
 * The digest that a tag stands for in a layout; where it holds just one image, "latest" is that.
 * @throws BuildError OCI_LAYOUT_INVALID
 */
export async function resolveLayoutTag(folder: string, tag: string): Promise<string> {
  const invalid = (problem: string, cause?: unknown): BuildError =>
    new BuildError(
      "OCI_LAYOUT_INVALID",
      `oci-layout reference "${folder}:${tag}" could not be resolved: ${problem}`,
      { cause },
    );
  let entries: readonly Entry[];
  try {
    const index = JSON.parse(await readFile(join(folder, "index.json"), "utf8")) as { manifests?: Entry[] };
    entries = index.manifests ?? [];
  } catch (cause) {
    throw invalid(codeOf(cause) === "ENOENT" ? "there is no index.json" : "index.json cannot be read", cause);
  }
  const named = entries.find(({ annotations }) => {
    const name = annotations?.["org.opencontainers.image.ref.name"];
    return name === tag || annotations?.["io.containerd.image.name"]?.endsWith(`:${tag}`);
  });
  const found = named ?? (tag === "latest" && entries.length === 1 ? entries[0] : undefined);
  if (!found) throw invalid("no such tag");
  return found.digest;
}
