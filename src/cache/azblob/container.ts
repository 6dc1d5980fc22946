// One container, as all exports and imports of a build share it: the connection, the bound on requests in flight, what
// is known to be there. Single requests go through the Azure SDK; when they are made, and made again, is ours.
import { Limiter, type BuildError } from "../../lib/index.js";
import type { CompatResponse, RequestPolicy, WebResourceLike } from "@azure/core-http-compat";
import type { BlobServiceClient, ContainerClient } from "@azure/storage-blob";
import { explain, failureOf, isIdentityError, StallError, statusOf } from "./errors.js";
import { ELSEWHERE } from "./pieces.js";
import { retrying, RetryBudget } from "./retry.js";
import type { AzblobConfig, FilePart, RequestFlow, Take } from "./types.js";

/** Requests at once. */
const IN_FLIGHT = 32;
/** Has all that is used here; servers other than Azure's own don't take the SDK's, which is the newest. */
const API_VERSION = "2019-12-12";
/** Pages of 5,000 names that a listing may have; a container with more is asked blob by blob. */
const MAX_PAGES = 4;
/** Bodies that break are asked for again by us. */
const RETRY_HERE = { maxRetryRequests: 0 };

export interface StoredBlob {
  readonly data: Buffer;
  readonly etag: string;
}

/** What has to hold for a write. */
export interface WriteCondition {
  /** nothing may be there */
  readonly isNew?: boolean;
  /** what is there has to be this */
  readonly etag?: string;
}

export interface TransferStats {
  bytesSent: number;
  bytesReceived: number;
  requests: number;
}

export class AzblobContainer {
  readonly retries = new RetryBudget();
  /** without anything secret */
  readonly url: string;
  readonly stats: TransferStats = { bytesSent: 0, bytesReceived: 0, requests: 0 };
  readonly #config: AzblobConfig;
  readonly #requests: Limiter;
  #client: Promise<ContainerClient> | undefined;
  #exists: Promise<void> | undefined;
  #isKnownToExist = false;

  constructor(config: AzblobConfig) {
    this.#config = config;
    this.url = `${config.accountUrl}/${config.container}`;
    this.#requests = new Limiter(config.maxRequests ?? IN_FLIGHT);
  }

  /** A small blob; `undefined` if it is not there. @throws BuildError AZBLOB_* */
  async read(path: string, signal: AbortSignal): Promise<StoredBlob | undefined> {
    try {
      return await this.#tryRead(signal, async (container, attempt) => {
        const response = await container
          .getBlobClient(path)
          .download(undefined, undefined, { ...RETRY_HERE, abortSignal: attempt.signal });
        const data = await attempt.collect(response.readableStreamBody!, response.contentLength ?? 0);
        return { data, etag: response.etag ?? "" };
      });
    } catch (error) {
      if (statusOf(error) === 404) return undefined;
      throw this.#explain(error, `read ${path}`);
    }
  }

  /**
   * Gives `take` the `count` bytes from `offset` on, which have to be there, in order.
   * @throws BuildError AZBLOB_*; what `take` throws
   */
  async readRange(
    path: string,
    offset: number,
    count: number,
    take: Take,
    signal: AbortSignal,
  ): Promise<void> {
    let received = 0;
    const takeWanted = async (piece: Buffer): Promise<void> => {
      const wanted = piece.subarray(0, count - received);
      received += wanted.length;
      this.stats.bytesReceived += wanted.length;
      await take(wanted);
    };
    try {
      await this.#tryRead(
        signal,
        async (container, attempt) => {
          // what has come is kept: the next try asks for the rest
          await container
            .getBlobClient(path)
            .download(offset + received, count - received, { ...RETRY_HERE, abortSignal: attempt.signal });
          if (received < count) throw new Error(`${path} ended after ${offset + received} bytes`);
        },
        { take: takeWanted },
      );
    } catch (error) {
      throw this.#explain(error, `download ${path}`);
    }
  }

  /**
   * Sizes by name, 0 for a blob of which only blocks are there.
   * @returns `undefined` if they cannot be listed, or are too many
   * @throws BuildError AZBLOB_*
   */
  async list(prefix: string, signal: AbortSignal): Promise<ReadonlyMap<string, number> | undefined> {
    const found = new Map<string, number>();
    let marker: string | undefined;
    try {
      for (let page = 0; page < MAX_PAGES; page++) {
        const continuationToken = marker;
        const result = await this.#tryRead(signal, async (container, attempt) => {
          const pages = container
            .listBlobsFlat({ prefix, includeUncommitedBlobs: true, abortSignal: attempt.signal })
            .byPage({ ...(continuationToken !== undefined && { continuationToken }) });
          const next = await pages.next();
          return next.done ? undefined : next.value;
        });
        for (const blob of result?.segment.blobItems ?? [])
          found.set(blob.name, blob.properties.contentLength ?? 0);
        this.#isKnownToExist = true;
        marker = result?.continuationToken;
        if (marker === undefined || marker === "") return found;
      }
      return undefined;
    } catch (error) {
      if (statusOf(error) === 404) return found;
      if (statusOf(error) === 403) return undefined;
      throw this.#explain(error, "list blobs");
    }
  }

  /** @throws BuildError AZBLOB_* */
  async has(path: string, signal: AbortSignal): Promise<boolean> {
    try {
      return await this.#tryRead(signal, (container, attempt) =>
        container.getBlobClient(path).exists({ abortSignal: attempt.signal }),
      );
    } catch (error) {
      throw this.#explain(error, `look for ${path}`);
    }
  }

  /** @returns false if the condition did not hold. @throws BuildError AZBLOB_* */
  write(
    path: string,
    data: Buffer | FilePart,
    condition: WriteCondition,
    signal: AbortSignal,
  ): Promise<boolean> {
    const [body, size, flow] = Buffer.isBuffer(data)
      ? [data, data.length, {}]
      : [ELSEWHERE, data.size, { body: data }];
    return this.#conditional(
      `write ${path}`,
      async () => {
        await this.#try(
          signal,
          (container, attempt) =>
            container.getBlockBlobClient(path).upload(body, size, {
              abortSignal: attempt.signal,
              conditions: conditionsOf(condition),
              blobHTTPHeaders: { blobContentType: "application/octet-stream" },
            }),
          flow,
        );
        this.stats.bytesSent += size;
      },
      signal,
    );
  }

  /** Blocks that are not part of a blob yet. @throws BuildError AZBLOB_* */
  async stageBlock(path: string, id: string, body: FilePart, signal: AbortSignal): Promise<void> {
    try {
      await this.#ensure(signal);
      await this.#try(
        signal,
        (container, { signal: abortSignal }) =>
          container.getBlockBlobClient(path).stageBlock(id, ELSEWHERE, body.size, { abortSignal }),
        { body },
      );
      this.stats.bytesSent += body.size;
    } catch (error) {
      throw this.#explain(error, `upload a block of ${path}`);
    }
  }

  /** Sizes of blocks that wait to become part of a blob, by id. */
  async stagedBlocks(path: string, signal: AbortSignal): Promise<ReadonlyMap<string, number>> {
    try {
      const list = await this.#try(signal, (container, attempt) =>
        container.getBlockBlobClient(path).getBlockList("uncommitted", { abortSignal: attempt.signal }),
      );
      return new Map((list.uncommittedBlocks ?? []).map(({ name, size }) => [name, size]));
    } catch {
      // nothing is there, or we may not look: all blocks are sent
      return new Map();
    }
  }

  /** @returns false if the condition did not hold. @throws BuildError AZBLOB_* */
  commit(path: string, ids: string[], condition: WriteCondition, signal: AbortSignal): Promise<boolean> {
    return this.#conditional(
      `upload ${path}`,
      async () => {
        await this.#try(signal, (container, attempt) =>
          container
            .getBlockBlobClient(path)
            .commitBlockList(ids, { abortSignal: attempt.signal, conditions: conditionsOf(condition) }),
        );
      },
      signal,
    );
  }

  async #conditional(what: string, task: () => Promise<void>, signal: AbortSignal): Promise<boolean> {
    try {
      await this.#ensure(signal);
      await task();
      return true;
    } catch (error) {
      if (statusOf(error) === 409 || statusOf(error) === 412) return false;
      throw this.#explain(error, what);
    }
  }

  /** Makes the container, unless a listing has shown that it is there. */
  #ensure(signal: AbortSignal): Promise<void> {
    if (this.#isKnownToExist) return Promise.resolve();
    this.#exists ??= this.#try(signal, async (container, attempt) => {
      await container.createIfNotExists({ abortSignal: attempt.signal });
    }).catch((error: unknown) => {
      // a SAS for one container may not make containers; the next request tells what it may do
      if (statusOf(error) !== 403) throw this.#explain(error, "create the container");
    });
    return this.#exists;
  }

  /** As `#try`; what is open to everybody is read without an identity where there is none. */
  async #tryRead<T>(signal: AbortSignal, task: Task<T>, flow: Flow = {}): Promise<T> {
    try {
      return await this.#try(signal, task, flow);
    } catch (error) {
      if (!isIdentityError(error)) throw error;
      const open = connect(this.#config, true);
      try {
        const result = await this.#try(signal, task, flow, open);
        this.#client = open;
        return result;
      } catch {
        throw error;
      }
    }
  }

  #try<T>(signal: AbortSignal, task: Task<T>, flow: Flow = {}, client = this.#connected()): Promise<T> {
    return this.#requests.run(() =>
      retrying(
        async () => {
          const container = await client;
          this.stats.requests++;
          using attempt = new Attempt(signal, this.#config.stallTimeout, this.stats, flow);
          return await attempt.run(() => task(container, attempt));
        },
        failureOf,
        this.retries,
        signal,
      ),
    );
  }

  #connected(): Promise<ContainerClient> {
    this.#client ??= connect(this.#config);
    return this.#client;
  }

  #explain(error: unknown, what: string): BuildError {
    return explain(error, what, this.#config);
  }
}

type Task<T> = (container: ContainerClient, attempt: Attempt) => Promise<T>;
type Flow = Pick<RequestFlow, "body" | "take">;

/** One try of a request: it is given up when nothing moves for a while. */
class Attempt implements Disposable, RequestFlow {
  /** by their signals, which is what is known of a request where its bytes move */
  static readonly #running = new WeakMap<AbortSignal, Attempt>();
  readonly body: FilePart | undefined;
  readonly take: Take | undefined;
  readonly signal: AbortSignal;
  readonly #stalled = new AbortController();
  readonly #timer: NodeJS.Timeout;
  readonly #stats: TransferStats;

  constructor(signal: AbortSignal, stallTimeout: number, stats: TransferStats, { body, take }: Flow) {
    this.#stats = stats;
    this.body = body;
    this.take = take;
    this.signal = AbortSignal.any([signal, this.#stalled.signal]);
    const give = (): void => this.#stalled.abort(new StallError(stallTimeout));
    this.#timer = setTimeout(give, stallTimeout);
    Attempt.#running.set(this.signal, this);
  }

  static of(signal: AbortSignal): Attempt | undefined {
    return Attempt.#running.get(signal);
  }

  moved(): void {
    this.#timer.refresh();
  }

  async run<T>(task: () => Promise<T>): Promise<T> {
    try {
      return await task();
    } catch (error) {
      throw this.#stalled.signal.aborted ? (this.#stalled.signal.reason as Error) : error;
    }
  }

  /** `for await` over a body would halve its rate. */
  each(stream: NodeJS.ReadableStream, take: (chunk: Buffer) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      stream.on("data", (chunk: Buffer) => {
        this.#stats.bytesReceived += chunk.length;
        take(chunk);
      });
      stream.on("end", resolve);
      stream.on("error", reject);
      stream.on("close", () => reject(new Error("the connection was closed")));
    });
  }

  async collect(stream: NodeJS.ReadableStream, size: number): Promise<Buffer> {
    const chunks: Buffer[] = [];
    await this.each(stream, (chunk) => chunks.push(chunk));
    const data = Buffer.concat(chunks);
    if (data.length < size) throw new Error(`ended after ${data.length} of ${size} bytes`);
    return data;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }
}

function conditionsOf({ isNew, etag }: WriteCondition): { ifNoneMatch?: string; ifMatch?: string } {
  if (isNew === true) return { ifNoneMatch: "*" };
  return etag === undefined ? {} : { ifMatch: etag };
}

/** @param anonymous without an identity, where nothing else signs requests */
async function connect(config: AzblobConfig, anonymous = false): Promise<ContainerClient> {
  const { AnonymousCredential, BlobServiceClient, newPipeline, StorageSharedKeyCredential } =
    await import("@azure/storage-blob");
  const { httpClient } = await import("./http-client.js");
  const { accountUrl, accountName, accountKey, connectionString, sas, container } = config;
  // tries are counted here, not there
  const retryOptions = { maxTries: 1, tryTimeoutInMs: 600_000 };
  const client = httpClient((signal) => Attempt.of(signal));
  const at = (url: string, credential: BlobServiceClient["credential"]): ContainerClient => {
    const pipeline = newPipeline(credential, { retryOptions, httpClient: client });
    pipeline.factories.push({ create: (next) => ({ sendRequest: (request) => inVersion(request, next) }) });
    return new BlobServiceClient(url, pipeline).getContainerClient(container);
  };
  if (connectionString) {
    const { url, credential } = BlobServiceClient.fromConnectionString(connectionString.reveal());
    return at(url, credential);
  }
  if (accountKey) return at(accountUrl, new StorageSharedKeyCredential(accountName, accountKey.reveal()));
  if (sas) return at(`${accountUrl}?${sas.reveal()}`, new AnonymousCredential());
  if (anonymous) return at(accountUrl, new AnonymousCredential());
  const { DefaultAzureCredential } = await import("@azure/identity");
  const { clientId, tenantId } = config;
  const credential = new DefaultAzureCredential({
    ...(clientId !== undefined && { managedIdentityClientId: clientId, workloadIdentityClientId: clientId }),
    ...(tenantId !== undefined && { tenantId }),
  });
  return at(accountUrl, credential);
}

/** Before it is signed. */
function inVersion(request: WebResourceLike, next: RequestPolicy): Promise<CompatResponse> {
  request.headers.set("x-ms-version", API_VERSION);
  return next.sendRequest(request);
}
