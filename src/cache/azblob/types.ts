// The parameters of type=azblob, as BuildKit documents them.
import type { FileHandle } from "node:fs/promises";
import type { Secret } from "../../lib/index.js";

export interface AzblobConfig {
  /** with a SAS in its query, if one was given */
  readonly accountUrl: string;
  readonly accountName: string;
  readonly container: string;
  /** in front of everything */
  readonly prefix: string;
  readonly manifestsPrefix: string;
  readonly blobsPrefix: string;
  /** manifests are written under all of them; imports read them in order */
  readonly names: readonly string[];
  /** without it: a SAS, a connection string, or the environment's Azure sign-in */
  readonly accountKey: Secret | undefined;
  readonly connectionString: Secret | undefined;
  /** of the identity to sign in with, where there are several */
  readonly clientId: string | undefined;
  readonly tenantId: string | undefined;
  /** requests at once; `undefined`: the usual number */
  readonly maxRequests: number | undefined;
  /** an export keeps what others wrote since its build began; else the last writer wins, as in BuildKit */
  readonly merge: boolean;
  /** milliseconds for a whole import or export; `undefined`: as long as bytes move */
  readonly timeout: number | undefined;
  /** milliseconds without a byte after which a request is given up */
  readonly stallTimeout: number;
  readonly sas: Secret | undefined;
}

/** A part of a file, which is read as it is sent. */
export interface FilePart {
  readonly file: FileHandle;
  readonly offset: number;
  readonly size: number;
}

/** Takes a piece of a body; once it is done, the piece may be used for something else. */
export type Take = (piece: Buffer) => Promise<void>;

/** What there is to know of a request besides what the Azure SDK says. */
export interface RequestFlow {
  /** bytes went out or came in */
  moved(): void;
  /** what is sent, where the SDK's own body is but a placeholder */
  readonly body?: FilePart | undefined;
  /** takes the body of a partial answer (206) as it comes, in order; the answer itself has none then */
  readonly take?: Take | undefined;
}

/** A request as the Azure SDK has signed it. */
export interface StorageRequest extends Omit<RequestFlow, "body"> {
  readonly method: string;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer | FilePart;
  readonly signal: AbortSignal | undefined;
}

export interface StorageResponse {
  readonly status: number;
  /** by name in lower case */
  readonly headers: Readonly<Record<string, string>>;
  /** what was not taken by the request */
  readonly body: Buffer;
  /** why there is no more of the body */
  readonly broken?: Error;
}

/** What moves requests and responses. */
export interface Transport {
  /** @throws Error if no answer comes */
  send(request: StorageRequest): Promise<StorageResponse>;
}
