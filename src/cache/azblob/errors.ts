// What went wrong in Azure, in words that mend it.
import { BuildError, codeOf, messageOf } from "../../lib/index.js";
import type { RequestFailure } from "./retry.js";
import type { AzblobConfig } from "./types.js";

interface AzureError {
  readonly statusCode?: unknown;
  readonly code?: string;
  readonly response?: { readonly headers?: { get(name: string): string | undefined } };
}

/** Nothing moved for a while. */
export class StallError extends Error {
  /** @param time milliseconds */
  constructor(time: number) {
    super(`no bytes for ${time / 1000} s`);
    this.name = "StallError";
  }
}

export function statusOf(error: unknown): number | undefined {
  const status = (error as AzureError | undefined)?.statusCode;
  return typeof status === "number" ? status : undefined;
}

/** @returns `undefined` where another try would fail as well: no identity, no such host, a certificate nobody trusts */
export function failureOf(error: unknown): RequestFailure | undefined {
  const status = statusOf(error);
  const text = messageOf(error);
  if (
    status === undefined &&
    (isIdentityError(error) ||
      /ENOTFOUND|certificate|CERT_|self-signed|wrong version number|packet length too long/i.test(text))
  )
    return undefined;
  const after = (error as AzureError | undefined)?.response?.headers?.get("retry-after");
  const seconds = after === undefined ? NaN : Number(after);
  return {
    status,
    retryAfter: Number.isNaN(seconds) ? undefined : seconds * 1000,
    isStall: error instanceof StallError,
  };
}

/** No source of identities gave a token, or it would not go over plain http. */
export function isIdentityError(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const isUnsent = /not permitted for non-TLS/.test(error.message);
  return isUnsent || /^(ChainedToken|Aggregate|Credential)|AuthenticationError$/.test(error.name);
}

export function explain(error: unknown, what: string, config: AzblobConfig): BuildError {
  if (error instanceof BuildError) return error;
  const status = statusOf(error);
  const code = (error as AzureError).code ?? codeOf(error);
  const where = `${config.accountUrl}/${config.container}`;
  const failed = (name: string, text: string, cause?: unknown): BuildError =>
    new BuildError(name, `azblob: cannot ${what} in ${where}: ${text}`, { cause });
  if (status === 403)
    return failed(
      "AZBLOB_FORBIDDEN",
      `${code ?? "forbidden"} (403); ${skewOf(error) ?? forbiddenHint(config)}`,
    );
  if (status === 404) return failed("AZBLOB_NOT_FOUND", `${code ?? "not found"} (404)`);
  if (status !== undefined) return failed("AZBLOB_FAILED", `${code ?? ""} (${status})`);
  if (isIdentityError(error)) {
    return failed(
      "AZBLOB_NO_IDENTITY",
      "no Azure identity gave a token (environment, workload identity, managed identity, az and azd logins); " +
        "give secret_access_key, a SAS in account_url or AZURE_STORAGE_CONNECTION_STRING, or sign in",
      error,
    );
  }
  const first = messageOf(error)
    .split("\n")[0]!
    .replace(/\?[^\s"]*sig=[^\s"]*/g, "?[redacted]");
  return failed("AZBLOB_UNREACHABLE", first);
}

/** A clock that is off makes every signature wrong; Azure takes a quarter of an hour. */
function skewOf(error: unknown): string | undefined {
  const date = Date.parse((error as AzureError).response?.headers?.get("date") ?? "");
  const minutes = Math.round((Date.now() - date) / 60_000);
  if (Number.isNaN(minutes) || Math.abs(minutes) < 14) return undefined;
  return `the clock of this machine is ${Math.abs(minutes)} minutes ${minutes < 0 ? "slow" : "fast"}`;
}

/** What is most likely wrong depends on how the requests are signed. */
function forbiddenHint({ accountKey, connectionString, sas }: AzblobConfig): string {
  if (accountKey) return "the account key is wrong, does not belong to the account, or the clock is off";
  if (connectionString) return "the key in AZURE_STORAGE_CONNECTION_STRING is wrong";
  if (!sas)
    return "the identity needs the role Storage Blob Data Contributor on the container (Reader is enough to import)";
  const expiry = new URLSearchParams(sas.reveal()).get("se");
  if (expiry !== null && Date.parse(expiry) < Date.now()) return `the SAS expired at ${expiry}`;
  return "the SAS lacks the right (read and list to import; create and write as well to export), or the clock is off";
}
