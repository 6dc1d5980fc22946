// What went wrong in Azure, in words that mend it.
import { BuildError, codeOf, messageOf } from "../../lib/index.js";
import { refusal } from "./refusal.js";
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

/** What Entra says of an identity that it knows but refuses, or why it could not be asked. */
function refusedBy(error: unknown): string {
  const text = messageOf(error);
  const said = /\bAADSTS\d+:[^.\n"]*/.exec(text)?.[0] ?? /^More details:\n(.*)$/m.exec(text)?.[1];
  return said === undefined ? "" : `: ${said}`;
}

export function explain(error: unknown, what: string, config: AzblobConfig): BuildError {
  if (error instanceof BuildError) return error;
  const status = statusOf(error);
  const code = (error as AzureError).code ?? codeOf(error);
  const where = `${config.accountUrl}/${config.container}`;
  const failed = (name: string, text: string, cause?: unknown): BuildError =>
    new BuildError(name, `azblob: cannot ${what} in ${where}: ${text}`, { cause });
  if (isIdentityError(error)) {
    return failed(
      "AZBLOB_NO_IDENTITY",
      `no Azure identity gave a token (environment, workload identity, managed identity, az and azd logins)${refusedBy(error)}; ` +
        "give secret_access_key, a SAS in account_url or AZURE_STORAGE_CONNECTION_STRING, or sign in",
      error,
    );
  }
  const date = (error as AzureError).response?.headers?.get("date");
  const hint = status === undefined ? undefined : refusal({ status, code, date }, config);
  if (hint !== undefined) return failed("AZBLOB_FORBIDDEN", `${code ?? "forbidden"} (${status}); ${hint}`);
  if (status === 404) return failed("AZBLOB_NOT_FOUND", `${code ?? "not found"} (404)`);
  if (status !== undefined) return failed("AZBLOB_FAILED", `${code ?? ""} (${status})`);
  const first = messageOf(error)
    .split("\n")[0]!
    .replace(/\?[^\s"]*sig=[^\s"]*/g, "?[redacted]");
  return failed("AZBLOB_UNREACHABLE", first);
}
