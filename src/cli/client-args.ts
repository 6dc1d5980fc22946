// Build arguments that nobody wrote on the command line: as buildx takes them from the client's surroundings.
import { readDockerFile } from "./docker-engine.js";

type Environment = Readonly<Record<string, string | undefined>>;

/** Fields of "proxies" in docker's config.json, and the argument that each is. */
const PROXIES: Readonly<Record<string, string>> = {
  httpProxy: "HTTP_PROXY",
  httpsProxy: "HTTPS_PROXY",
  noProxy: "NO_PROXY",
  ftpProxy: "FTP_PROXY",
  allProxy: "ALL_PROXY",
};

/**
 * Proxies of docker's config.json, in upper and in lower case, and SOURCE_DATE_EPOCH of the environment.
 * @param given on the command line: a proxy in one case is meant in both
 */
export function clientArgs(
  env: Environment,
  given: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> {
  const { proxies } = readDockerFile(env, "config.json") as {
    readonly proxies?: { readonly default?: Readonly<Record<string, unknown>> };
  };
  const isGiven = new Set(Object.keys(given).map((name) => name.toLowerCase()));
  const args: Record<string, string> = {};
  for (const [field, name] of Object.entries(PROXIES)) {
    const value = proxies?.default?.[field];
    if (typeof value !== "string" || value === "" || isGiven.has(name.toLowerCase())) continue;
    args[name] = value;
    args[name.toLowerCase()] = value;
  }
  const epoch = env["SOURCE_DATE_EPOCH"];
  return { ...args, ...(epoch && { SOURCE_DATE_EPOCH: epoch }), ...given };
}
