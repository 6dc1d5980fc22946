// The cache in Azure Blob Storage: <prefix><manifests_prefix>/<name> and <prefix><blobs_prefix>/<digest>, as BuildKit
// lays them out. Single requests go through the Azure SDK; scheduling is the caller's.
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { posix } from "node:path";
import { BuildError, codeOf, Limiter, messageOf, type Digest } from "../../lib/index.js";
import { resumable, type BlobProvider, type Descriptor } from "../../content/index.js";
import type { Step } from "../../progress/index.js";
import { decodeManifest, encodeManifest } from "../manifest.js";
import type { CacheBlob, CacheManifest, CacheSource, CacheTarget, StoredCache } from "../types.js";
import type { AzblobConfig } from "./types.js";
import type { BlockBlobClient, ContainerClient } from "@azure/storage-blob";

const BLOCK = 8 << 20;
const SINGLE = 4 << 20;

export class AzblobBackend implements CacheSource, CacheTarget {
  readonly title = "exporting cache to Azure Blob Storage";
  readonly name: string;
  readonly #config: AzblobConfig;
  readonly #limiter: Limiter;
  readonly #blobs: BlobProvider;
  #container: Promise<ContainerClient> | undefined;
  #ensured: Promise<void> | undefined;
  /** blobs known to be there */
  readonly #present = new Set<Digest>();
  #listed: Promise<boolean> | undefined;

  constructor(config: AzblobConfig, limiter = new Limiter(32)) {
    this.#config = config;
    this.#limiter = limiter;
    this.name = `azblob:${config.names.join(";")}`;
    this.#blobs = {
      name: `azblob ${config.accountUrl}/${config.container}`,
      open: async (descriptor, signal) =>
        resumable(descriptor, (offset) => this.#open(descriptor, offset, signal), signal),
    };
  }

  async read(signal: AbortSignal): Promise<readonly StoredCache[]> {
    const container = await this.#client();
    const found = await Promise.all(
      this.#config.names.map(async (name) => {
        try {
          const response = await container
            .getBlobClient(this.#manifestPath(name))
            .download(undefined, undefined, { abortSignal: signal });
          const chunks: Buffer[] = [];
          for await (const chunk of response.readableStreamBody!) chunks.push(chunk as Buffer);
          return [{ name, data: Buffer.concat(chunks) }];
        } catch (error) {
          if (statusOf(error) === 404) return [];
          throw this.#explain(error, `read manifest ${name}`);
        }
      }),
    );
    return found.flat().map(({ name, data }) => ({
      name: `azblob:${name}`,
      manifest: decodeManifest(data),
      blobs: this.#blobs,
      hasBlob: (digest, during) => this.hasBlob(digest, during),
    }));
  }

  async writeManifest(manifest: CacheManifest, step: Step, signal: AbortSignal): Promise<void> {
    const data = encodeManifest(manifest);
    await step.status("writing cache manifest", () => this.#writeManifest(data, signal));
  }

  async #writeManifest(data: Buffer, signal: AbortSignal): Promise<void> {
    const container = await this.#ensureContainer(signal);
    for (const name of this.#config.names) {
      try {
        await container.getBlockBlobClient(this.#manifestPath(name)).upload(data, data.length, {
          abortSignal: signal,
          blobHTTPHeaders: { blobContentType: "application/octet-stream" },
        });
      } catch (error) {
        throw this.#explain(error, `write manifest ${name}`);
      }
    }
  }

  /** What is there is learnt from one listing; a SAS that may not list falls back to asking one by one. */
  async hasBlob(digest: Digest, signal: AbortSignal): Promise<boolean> {
    this.#listed ??= this.#list(signal);
    if (await this.#listed) return this.#present.has(digest);
    if (this.#present.has(digest)) return true;
    const container = await this.#client();
    const blob = container.getBlobClient(this.#blobPath(digest));
    try {
      return await this.#limiter.run(() => blob.exists({ abortSignal: signal }));
    } catch (error) {
      throw this.#explain(error, `look for ${digest}`);
    }
  }

  /** @returns whether listing is allowed */
  async #list(signal: AbortSignal): Promise<boolean> {
    const container = await this.#client();
    const prefix = posix.join(this.#config.prefix, this.#config.blobsPrefix, "/");
    try {
      for await (const blob of container.listBlobsFlat({ prefix, abortSignal: signal })) {
        this.#present.add(blob.name.slice(prefix.length) as Digest);
      }
      return true;
    } catch (error) {
      if (statusOf(error) === 404) return true;
      if (statusOf(error) === 403) return false;
      throw this.#explain(error, "list blobs");
    }
  }

  async putBlob({ digest }: Descriptor, { file: content }: CacheBlob, signal: AbortSignal): Promise<void> {
    const file = await content();
    const container = await this.#ensureContainer(signal);
    const blob = container.getBlockBlobClient(this.#blobPath(digest));
    const { size } = await stat(file);
    const conditions = { ifNoneMatch: "*" };
    try {
      if (size <= SINGLE) {
        await this.#limiter.run(() =>
          blob.upload(() => createReadStream(file), size, { abortSignal: signal, conditions }),
        );
      } else await this.#putBlocks(blob, file, size, signal);
      this.#present.add(digest);
    } catch (error) {
      if (statusOf(error) === 409 || statusOf(error) === 412) this.#present.add(digest);
      else throw this.#explain(error, `upload ${digest}`);
    }
  }

  async #putBlocks(blob: BlockBlobClient, file: string, size: number, signal: AbortSignal): Promise<void> {
    const ids: string[] = [];
    const blocks: Promise<unknown>[] = [];
    for (let offset = 0, i = 0; offset < size; offset += BLOCK, i++) {
      const id = Buffer.from(String(i).padStart(8, "0")).toString("base64");
      const length = Math.min(BLOCK, size - offset);
      const start = offset;
      ids.push(id);
      blocks.push(
        this.#limiter.run(() =>
          blob.stageBlock(id, () => createReadStream(file, { start, end: start + length - 1 }), length, {
            abortSignal: signal,
          }),
        ),
      );
    }
    await Promise.all(blocks);
    await blob.commitBlockList(ids, { abortSignal: signal, conditions: { ifNoneMatch: "*" } });
  }

  async #open(
    { digest }: Descriptor,
    offset: number,
    signal: AbortSignal,
  ): Promise<AsyncIterable<Uint8Array>> {
    try {
      const container = await this.#client();
      const blob = container.getBlobClient(this.#blobPath(digest));
      const response = await this.#limiter.run(() =>
        blob.download(offset, undefined, { abortSignal: signal }),
      );
      return response.readableStreamBody as unknown as AsyncIterable<Uint8Array>;
    } catch (error) {
      throw this.#explain(error, `download ${digest}`);
    }
  }

  #manifestPath(name: string): string {
    return posix.join(this.#config.prefix, this.#config.manifestsPrefix, name);
  }

  #blobPath(digest: Digest): string {
    return posix.join(this.#config.prefix, this.#config.blobsPrefix, digest);
  }

  #ensureContainer(signal: AbortSignal): Promise<ContainerClient> {
    const client = this.#client();
    this.#ensured ??= client.then(async (container) => {
      try {
        await container.createIfNotExists({ abortSignal: signal });
      } catch (error) {
        // a SAS for one container may not make containers; the next request tells what it may do
        if (statusOf(error) !== 403) throw this.#explain(error, "create the container");
      }
    });
    return this.#ensured.then(() => client);
  }

  #client(): Promise<ContainerClient> {
    this.#container ??= this.#connect();
    return this.#container;
  }

  async #connect(): Promise<ContainerClient> {
    const { BlobServiceClient, StorageSharedKeyCredential, newPipeline } =
      await import("@azure/storage-blob");
    const { accountUrl, accountName, accountKey, connectionString, sas, container } = this.#config;
    const options = {
      retryOptions: { maxTries: 4, tryTimeoutInMs: 300_000, retryDelayInMs: 200, maxRetryDelayInMs: 5000 },
    };
    if (connectionString)
      return BlobServiceClient.fromConnectionString(connectionString.reveal(), options).getContainerClient(
        container,
      );
    if (accountKey) {
      const credential = new StorageSharedKeyCredential(accountName, accountKey.reveal());
      return new BlobServiceClient(accountUrl, newPipeline(credential, options)).getContainerClient(
        container,
      );
    }
    if (sas)
      return new BlobServiceClient(`${accountUrl}?${sas.reveal()}`, undefined, options).getContainerClient(
        container,
      );
    const { DefaultAzureCredential } = await import("@azure/identity");
    return new BlobServiceClient(accountUrl, new DefaultAzureCredential(), options).getContainerClient(
      container,
    );
  }

  /** What is most likely wrong depends on how the requests are signed. */
  #forbiddenHint(): string {
    const { accountKey, connectionString, sas } = this.#config;
    if (accountKey) return "the account key is wrong, does not belong to the account, or the clock is off";
    if (connectionString) return "the key in AZURE_STORAGE_CONNECTION_STRING is wrong";
    if (sas)
      return "the SAS has expired or lacks the right (read and list to import; create and write as well to export)";
    return "the identity needs the role Storage Blob Data Contributor on the container (Reader is enough to import)";
  }

  #explain(error: unknown, what: string): BuildError {
    const status = statusOf(error);
    const code = (error as { code?: string }).code ?? codeOf(error);
    const where = `${this.#config.accountUrl}/${this.#config.container}`;
    if (status === 403) {
      const hint = this.#forbiddenHint();
      return new BuildError(
        "AZBLOB_FORBIDDEN",
        `azblob: cannot ${what} in ${where}: ${code ?? "forbidden"} (403); ${hint}`,
      );
    }
    if (status === 404)
      return new BuildError(
        "AZBLOB_NOT_FOUND",
        `azblob: cannot ${what} in ${where}: ${code ?? "not found"} (404)`,
      );
    if (status !== undefined)
      return new BuildError("AZBLOB_FAILED", `azblob: cannot ${what} in ${where}: ${code ?? ""} (${status})`);
    if (
      error instanceof Error &&
      /^(ChainedToken|Aggregate|Credential)|AuthenticationError$/.test(error.name)
    ) {
      return new BuildError(
        "AZBLOB_NO_IDENTITY",
        `azblob: cannot ${what} in ${where}: no Azure identity gave a token (environment, workload identity, managed identity, az and azd logins); ` +
          "give secret_access_key, a SAS in account_url or AZURE_STORAGE_CONNECTION_STRING, or sign in",
        { cause: error },
      );
    }
    const first = messageOf(error)
      .split("\n")[0]!
      .replace(/\?[^\s"]*sig=[^\s"]*/g, "?[redacted]");
    return new BuildError("AZBLOB_UNREACHABLE", `azblob: cannot ${what} in ${where}: ${first}`);
  }
}

function statusOf(error: unknown): number | undefined {
  const status = (error as { statusCode?: unknown } | undefined)?.statusCode;
  return typeof status === "number" ? status : undefined;
}
