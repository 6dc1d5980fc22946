// Attributes and environment to an azblob configuration, every mistake with the word that mends it.
import { BuildError, parseBool, parseDuration, Secret } from "../../lib/index.js";
import type { AzblobConfig } from "./types.js";

type Environment = Readonly<Record<string, string | undefined>>;

export const AZBLOB_ATTRIBUTES = [
  "name",
  "account_url",
  "account_name",
  "container",
  "prefix",
  "manifests_prefix",
  "blobs_prefix",
  "secret_access_key",
  "client_id",
  "tenant_id",
  "max_requests",
  "timeout",
  "stall_timeout",
];
export const AZBLOB_EXPORT_ATTRIBUTES = ["merge"];

const STALL = 30_000;

/** @throws BuildError AZBLOB_* */
export function azblobConfig(
  attributes: ReadonlyMap<string, string>,
  environment: Environment,
): AzblobConfig {
  const pick = (attribute: string, variable: string): string =>
    attributes.get(attribute) || environment[variable] || "";
  const connection = environment["AZURE_STORAGE_CONNECTION_STRING"] ?? "";
  const fromConnection = parseConnectionString(connection);
  const rawUrl = pick("account_url", "BUILDKIT_AZURE_STORAGE_ACCOUNT_URL") || fromConnection.url;
  if (rawUrl === "") {
    throw new BuildError(
      "AZBLOB_ACCOUNT_URL_MISSING",
      "azblob: account_url is missing; give account_url=https://ACCOUNT.blob.core.windows.net or set BUILDKIT_AZURE_STORAGE_ACCOUNT_URL",
    );
  }
  if (!/^[a-z][a-z0-9+.-]*:\/\//i.test(rawUrl)) {
    throw new BuildError(
      "AZBLOB_ACCOUNT_URL_INVALID",
      `azblob: account_url "${withoutQuery(rawUrl)}" has no scheme; use https://${withoutQuery(rawUrl)}`,
    );
  }
  let url: URL;
  try {
    url = new URL(rawUrl);
  } catch (cause) {
    throw new BuildError(
      "AZBLOB_ACCOUNT_URL_INVALID",
      `azblob: account_url "${withoutQuery(rawUrl)}" is not a URL`,
      { cause },
    );
  }
  if (url.protocol !== "https:" && url.protocol !== "http:") {
    throw new BuildError(
      "AZBLOB_ACCOUNT_URL_INVALID",
      `azblob: account_url "${withoutQuery(rawUrl)}" must begin with https:// (or http:// for an emulator)`,
    );
  }
  const sas = url.search.length > 1 ? new Secret(url.search.slice(1)) : undefined;
  url.search = "";
  const accountName =
    pick("account_name", "BUILDKIT_AZURE_STORAGE_ACCOUNT_NAME") ||
    fromConnection.account ||
    accountFromUrl(url);
  const container = pick("container", "BUILDKIT_AZURE_STORAGE_CONTAINER") || "buildkit-cache";
  if (!/^(?!.*--)[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$/.test(container)) {
    throw new BuildError(
      "AZBLOB_CONTAINER_INVALID",
      `azblob: container "${container}" is not a name Azure takes: 3 to 63 lower-case letters, digits and single hyphens`,
    );
  }
  const key = attributes.get("secret_access_key");
  if (key !== undefined && key !== "" && !isBase64(key)) {
    throw new BuildError(
      "AZBLOB_KEY_INVALID",
      "azblob: secret_access_key is not base64; use an account key as Azure shows it",
    );
  }
  const names = (attributes.get("name") ?? "").split(";").filter((name) => name !== "");
  return {
    accountUrl: url.href.replace(/\/+$/, ""),
    accountName,
    container,
    prefix: pick("prefix", "BUILDKIT_AZURE_STORAGE_PREFIX"),
    manifestsPrefix: attributes.get("manifests_prefix") || "manifests",
    blobsPrefix: attributes.get("blobs_prefix") || "blobs",
    names: names.length > 0 ? names : ["buildkit"],
    accountKey: key ? new Secret(key) : undefined,
    clientId: attributes.get("client_id") || undefined,
    tenantId: attributes.get("tenant_id") || undefined,
    maxRequests: maxRequests(pick("max_requests", "BLUEKILN_AZBLOB_MAX_REQUESTS")),
    merge: mergeFlag(attributes.get("merge") ?? "true"),
    timeout: timeout("timeout", attributes.get("timeout") ?? ""),
    stallTimeout: timeout("stall_timeout", attributes.get("stall_timeout") ?? "") ?? STALL,
    connectionString: connection !== "" && rawUrl === fromConnection.url ? new Secret(connection) : undefined,
    sas,
  };
}

function maxRequests(text: string): number | undefined {
  if (text === "") return undefined;
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > 1000)
    throw new BuildError(
      "AZBLOB_PARAMETER_INVALID",
      `azblob: max_requests "${text}" is not a number from 1 to 1000`,
    );
  return value;
}

function mergeFlag(text: string): boolean {
  const value = parseBool(text);
  if (value === undefined)
    throw new BuildError("AZBLOB_PARAMETER_INVALID", `azblob: merge "${text}" is neither true nor false`);
  return value;
}

/** "90s", "5m", or plain seconds */
function timeout(name: string, text: string): number | undefined {
  if (text === "") return undefined;
  const value = parseDuration(/^\d+$/.test(text) ? `${text}s` : text);
  if (value === undefined || value <= 0)
    throw new BuildError(
      "AZBLOB_PARAMETER_INVALID",
      `azblob: ${name} "${text}" is not a duration such as 90s or 5m`,
    );
  return value;
}

function accountFromUrl(url: URL): string {
  const first = url.hostname.split(".")[0]!;
  const inPath = /^\/([a-z0-9]{3,24})\/?$/.exec(url.pathname)?.[1];
  return inPath ?? first;
}

function parseConnectionString(text: string): { url: string; account: string } {
  const fields = new Map(
    text
      .split(";")
      .map((part) => [part.slice(0, part.indexOf("=")), part.slice(part.indexOf("=") + 1)] as const),
  );
  const account = fields.get("AccountName") ?? "";
  const suffix = fields.get("EndpointSuffix") ?? "core.windows.net";
  const derived =
    account === "" ? "" : `${fields.get("DefaultEndpointsProtocol") ?? "https"}://${account}.blob.${suffix}`;
  return { url: (fields.get("BlobEndpoint") ?? derived).replace(/\/+$/, ""), account };
}

function isBase64(text: string): boolean {
  return /^[A-Za-z0-9+/]+={0,2}$/.test(text) && text.length % 4 === 0;
}

/** A URL without what may be a SAS. */
function withoutQuery(url: string): string {
  return url.split("?")[0]!;
}
