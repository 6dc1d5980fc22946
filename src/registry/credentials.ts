// Registry credentials as Docker keeps them: config.json with stored logins, credential stores and helpers.
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { Secret } from "../lib/index.js";

export interface Credentials {
  readonly username: string;
  readonly password: Secret;
  /** an OAuth refresh token instead of a password */
  readonly identityToken?: Secret;
}

export interface CredentialSource {
  /** @param domain "docker.io", "127.0.0.1:5000" */
  credentials(domain: string): Promise<Credentials | undefined>;
}

interface DockerConfig {
  readonly auths?: Readonly<
    Record<string, { auth?: string; username?: string; password?: string; identitytoken?: string }>
  >;
  readonly credsStore?: string;
  readonly credHelpers?: Readonly<Record<string, string>>;
}

/** Reads config.json of `folder` (default: DOCKER_CONFIG or ~/.docker) at the first question. */
export class DockerCredentials implements CredentialSource {
  readonly #file: string;
  #config: Promise<DockerConfig> | undefined;

  constructor(folder = process.env["DOCKER_CONFIG"] ?? join(homedir(), ".docker")) {
    this.#file = join(folder, "config.json");
  }

  async credentials(domain: string): Promise<Credentials | undefined> {
    this.#config ??= readFile(this.#file, "utf8").then(
      (text) => JSON.parse(text) as DockerConfig,
      () => ({}),
    );
    const config = await this.#config;
    const key = domain === "docker.io" ? "https://index.docker.io/v1/" : domain;
    const helper = config.credHelpers?.[domain] ?? config.credsStore;
    if (helper !== undefined && helper !== "") {
      const found = await askHelper(helper, key);
      if (found) return found;
    }
    const auths = config.auths ?? {};
    const entry = auths[key] ?? auths[`https://${domain}`] ?? auths[`http://${domain}`] ?? auths[domain];
    if (!entry) return undefined;
    const [user, password] = entry.auth
      ? Buffer.from(entry.auth, "base64").toString().split(/:(.*)/s)
      : [entry.username, entry.password];
    return {
      username: user ?? "",
      password: new Secret((password ?? "").replace(/\0+$/, "")),
      ...(entry.identitytoken !== undefined && { identityToken: new Secret(entry.identitytoken) }),
    };
  }
}

function askHelper(name: string, server: string): Promise<Credentials | undefined> {
  return new Promise((resolve) => {
    const child = execFile(`docker-credential-${name}`, ["get"], { timeout: 30_000 }, (error, stdout) => {
      if (error) return resolve(undefined);
      try {
        const { Username, Secret: secret } = JSON.parse(stdout) as { Username: string; Secret: string };
        const token = Username === "<token>";
        resolve({
          username: token ? "" : Username,
          password: new Secret(token ? "" : secret),
          ...(token && { identityToken: new Secret(secret) }),
        });
      } catch {
        resolve(undefined);
      }
    });
    child.stdin?.on("error", () => undefined);
    child.stdin?.end(server);
  });
}
