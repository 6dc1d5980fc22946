// Azure on this machine under its own names: a proxy leads the hosts of accounts to an Azurite that checks tokens, and
// those of Microsoft Entra to a place that gives them.
import { execFileSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createSecureServer, request as requestSecure } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";
// @ts-expect-error plain JavaScript, shared with the golden runner
import { startAzurite, waitFor } from "../golden/lib/services.mjs";
import { freePort } from "./services.js";
import { tunnel } from "./tunnel.js";

const ACCOUNT = "devstoreaccount1";
/** A domain of its own that the account has. */
export const CUSTOM_DOMAIN = "layers.example.test";
/** China's has two names, of which clients take the second. */
const ENTRA = [
  "login.microsoftonline.com",
  "login.microsoftonline.us",
  "login.chinacloudapi.cn",
  "login.partner.microsoftonline.cn",
];
const ACCOUNTS = ["windows.net", "chinacloudapi.cn", "usgovcloudapi.net"].map(
  (cloud) => `${ACCOUNT}.blob.core.${cloud}`,
);

/** A client secret that Entra refuses. */
export const WRONG_SECRET = "wrong";

export interface TokenRequest {
  readonly host: string;
  readonly tenant: string;
  /** what the client sent */
  readonly form: URLSearchParams;
}

export class AzureHosts {
  /** tokens that were asked for */
  readonly asked: TokenRequest[] = [];
  /** seconds that tokens are good for */
  lifetime = 3600;
  readonly #certificate: string;
  readonly #key: string;
  readonly #servers: Server[] = [];
  #azurite: ChildProcess | undefined;
  #azuritePort = 0;

  /** @param folder for certificates and blobs */
  private constructor(folder: string) {
    this.#certificate = join(folder, "azure.pem");
    this.#key = join(folder, "azure.key");
    const names = [...ENTRA, ...ACCOUNTS, CUSTOM_DOMAIN].map((name) => `DNS:${name}`);
    const subject = ["-subj", "/CN=azure", "-addext", `subjectAltName=IP:127.0.0.1,${names.join(",")}`];
    const files = ["-keyout", this.#key, "-out", this.#certificate];
    const request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"];
    execFileSync("openssl", [...request, ...subject, ...files], { stdio: "ignore" });
  }

  static async start(folder: string): Promise<AzureHosts> {
    const hosts = new AzureHosts(folder);
    await hosts.#start(join(folder, "azurite"));
    return hosts;
  }

  /** What a build needs to find all this. */
  get environment(): Record<string, string> {
    const proxy = `http://127.0.0.1:${this.#portOf(this.#servers[0]!)}`;
    return { HTTPS_PROXY: proxy, NODE_EXTRA_CA_CERTS: this.#certificate };
  }

  /** File with a key and its certificate. */
  get certificate(): string {
    return this.#certificate;
  }

  get key(): string {
    return this.#key;
  }

  /** The account by its address instead of a name. */
  get plainAccount(): string {
    return `https://127.0.0.1:${this.#azuritePort}/${ACCOUNT}`;
  }

  /** As Entra would sign one, but unsigned, which Azurite takes. */
  token(): string {
    const now = Math.floor(Date.now() / 1000);
    const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
    const times = { iat: now - 7200, nbf: now - 7200, exp: now + this.lifetime };
    const claims = { aud: "https://storage.azure.com", iss: "https://sts.windows.net/0/", ...times };
    return `${part({ alg: "none" })}.${part(claims)}.`;
  }

  stop(): void {
    this.#azurite?.kill("SIGKILL");
    for (const server of this.#servers) {
      server.close();
      server.closeAllConnections();
    }
  }

  async #start(folder: string): Promise<void> {
    this.#azuritePort = await freePort();
    const secure = ["--oauth", "basic", "--cert", this.#certificate, "--key", this.#key];
    this.#azurite = (startAzurite as (folder: string, port: number, options: string[]) => ChildProcess)(
      folder,
      this.#azuritePort,
      secure,
    );
    await (waitFor as (port: number) => Promise<void>)(this.#azuritePort);
    const pair = { cert: readFileSync(this.#certificate), key: readFileSync(this.#key) };
    const entra = createSecureServer(pair, (request, response) => void this.#giveToken(request, response));
    const custom = createSecureServer(pair, (request, response) => this.#forward(request, response));
    const proxy = createServer().on("connect", (request, client, head) => {
      const host = request.url!.split(":")[0]!;
      const portOf = new Map([
        ...ENTRA.map((name) => [name, this.#portOf(entra)] as const),
        ...ACCOUNTS.map((name) => [name, this.#azuritePort] as const),
        [CUSTOM_DOMAIN, this.#portOf(custom)] as const,
        ["127.0.0.1", Number(request.url!.split(":")[1])] as const,
      ]);
      const port = portOf.get(host);
      if (port === undefined) client.destroy();
      else tunnel(client, head, `127.0.0.1:${port}`);
    });
    this.#servers.push(proxy, entra, custom);
    for (const server of this.#servers) await once(server.listen(0, "127.0.0.1"), "listening");
  }

  #portOf(server: Server): number {
    return (server.address() as AddressInfo).port;
  }

  async #giveToken(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const host = request.headers.host!;
    const url = new URL(request.url!, `https://${host}`);
    const tenant = url.pathname.split("/")[1]!;
    response.setHeader("content-type", "application/json");
    if (request.method === "GET") {
      const issuer = `https://${host}/${tenant}/v2.0`;
      const place = `https://${host}/${tenant}/oauth2/v2.0`;
      const endpoints = { token_endpoint: `${place}/token`, authorization_endpoint: `${place}/authorize` };
      return void response.end(JSON.stringify({ issuer, ...endpoints, jwks_uri: `${place}/keys` }));
    }
    const form = new URLSearchParams(await text(request));
    this.asked.push({ host, tenant, form });
    if (form.get("client_secret") === WRONG_SECRET) {
      const description =
        "AADSTS7000215: Invalid client secret provided. Ensure the secret being sent is its value.";
      response.writeHead(401);
      return void response.end(JSON.stringify({ error: "invalid_client", error_description: description }));
    }
    const token = { token_type: "Bearer", expires_in: this.lifetime, access_token: this.token() };
    response.end(JSON.stringify(token));
  }

  /** As Azure's front does with a domain of the account's own: what is signed is the account's name. */
  #forward(request: IncomingMessage, response: ServerResponse): void {
    const { method, url: path, headers } = request;
    const options = { host: "127.0.0.1", port: this.#azuritePort, method, path, rejectUnauthorized: false };
    const onward = requestSecure({ ...options, headers: { ...headers, host: ACCOUNTS[0] } }, (answer) => {
      response.writeHead(answer.statusCode!, answer.headers);
      answer.pipe(response);
    });
    onward.on("error", () => response.destroy());
    request.pipe(onward);
  }
}
