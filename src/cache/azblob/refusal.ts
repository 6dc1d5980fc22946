// Why Azure refuses a request, and what mends it. The codes are those of the storage services' REST API ("Common REST
// API error codes"); which of them says what depends on how requests are signed.
import type { AzblobConfig } from "./types.js";

/** What refuses a request, of all that Azure answers. */
const REFUSALS = new Set([401, 403]);
/** Azure takes a clock that is a quarter of an hour off; milliseconds. */
const SKEW = 14 * 60_000;

/** What a SAS is bound to that was not met, by code. */
const BOUNDS: Readonly<Record<string, string>> = {
  AuthorizationProtocolMismatch: "the SAS is for https only",
  AuthorizationSourceIPMismatch: "the SAS is for other addresses than this machine's",
  AuthorizationServiceMismatch: "the SAS is not for blobs (ss has to contain b)",
  AuthorizationResourceTypeMismatch: "the SAS is not for containers and objects (srt has to contain c and o)",
};

/** What Azure answered. */
export interface Refused {
  readonly status: number;
  /** "AuthenticationFailed" */
  readonly code: string | undefined;
  /** the server's clock, as it says it */
  readonly date: string | undefined;
}

/** @returns what mends it; `undefined` if this is no refusal */
export function refusal({ status, code, date }: Refused, config: AzblobConfig): string | undefined {
  if (code === "PublicAccessNotPermitted")
    return "the account is not open to everybody; sign in or give a key";
  if (!REFUSALS.has(status)) return undefined;
  if (code === "AccountIsDisabled") return "the account is disabled";
  if (code === "KeyBasedAuthenticationNotPermitted")
    return "the account does not take keys; leave the key out and sign in with an identity";
  return BOUNDS[code ?? ""] ?? skewOf(date) ?? wrongCredential(code, config);
}

/** A clock that is off makes every signature wrong. */
function skewOf(date = ""): string | undefined {
  const skew = Date.now() - Date.parse(date);
  if (Number.isNaN(skew) || Math.abs(skew) < SKEW) return undefined;
  return `the clock of this machine is ${Math.round(Math.abs(skew) / 60_000)} minutes ${skew < 0 ? "slow" : "fast"}`;
}

function wrongCredential(code: string | undefined, config: AzblobConfig): string {
  const { accountKey, connectionString, sas, accountName } = config;
  // what Azure says where a machine's address is not let in
  const orNetwork =
    code === "AuthorizationFailure" ? ", or the account's network rules do not let this machine in" : "";
  if (accountKey)
    return `the account key is wrong or not that of account ${accountName} (account_name)${orNetwork}`;
  if (connectionString) return `the key in AZURE_STORAGE_CONNECTION_STRING is wrong${orNetwork}`;
  if (sas) return wrongSas(code, new URLSearchParams(sas.reveal())) + orNetwork;
  if (code === "InvalidAuthenticationInfo" || code === "AuthenticationFailed")
    return "the account refuses the identity's token: it may be of another tenant (tenant_id, AZURE_TENANT_ID)";
  return (
    "the identity needs the role Storage Blob Data Contributor on the container (Storage Blob Data Reader is enough " +
    `to import)${orNetwork}`
  );
}

function wrongSas(code: string | undefined, sas: URLSearchParams): string {
  const [start, expiry, rights] = ["st", "se", "sp"].map((name) => sas.get(name));
  if (expiry && Date.parse(expiry) < Date.now()) return `the SAS expired at ${expiry}`;
  if (start && Date.parse(start) > Date.now()) return `the SAS is not valid before ${start}`;
  if (code === "AuthenticationFailed") return "the SAS is not one that the account has signed";
  const has = rights ? ` has the rights "${rights}"` : " lacks a right";
  return `the SAS${has}; it takes read and list (rl) to import, create and write as well (rcwl) to export`;
}
