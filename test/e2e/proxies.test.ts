// Registries and files behind URLs through a proxy, as the environment names it; whoever is here is asked directly.
import { createServer, request as httpRequest, type Server } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { mkdtempSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { makeCertificates } from "../support/certificates.js";
import { bluekilnAside, makeContext, startServices, type Services } from "../support/services.js";
import { tunnel } from "../support/tunnel.js";

let services: Services;
let authority: string;
let direct: string;
const servers: Server[] = [];
const asked: string[] = [];
const seen: (string | undefined)[] = [];

async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  servers.push(server);
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

let proxy: string;
beforeAll(async () => {
  services = await startServices();
  const { ca, server } = makeCertificates(services.work);
  authority = ca;
  const tls = { cert: readFileSync(server.cert), key: readFileSync(server.key) };
  // registry.test is the tests' registry behind TLS
  const registry = await listen(
    createTlsServer(tls, ({ method, url, headers }, response) => {
      const [host, port] = services.registry.split(":");
      httpRequest({ host, port, method, path: url, headers }, (answer) => {
        response.writeHead(answer.statusCode!, answer.headers);
        answer.pipe(response);
      }).end();
    }),
  );
  direct = await listen(createServer((_request, response) => void response.end("from here")));
  const through = createServer((request, response) => {
    asked.push(request.url!);
    seen.push(request.headers.authorization);
    const elsewhere = /^http:\/\/files\.test\/moved$/.test(request.url!);
    if (request.url!.endsWith("/missing")) response.writeHead(404);
    if (elsewhere) response.writeHead(302, { location: "http://other.test:6000/file" });
    response.end(elsewhere ? "" : "from afar");
  });
  through.on("connect", (request, client, head) => {
    asked.push(request.url!);
    tunnel(client, head, registry);
  });
  proxy = `http://${await listen(through)}`;
});
afterAll(() => {
  for (const server of servers) {
    server.close();
    server.closeAllConnections();
  }
  services.stop();
});
beforeEach(() => {
  asked.splice(0);
  seen.splice(0);
});

async function build(dockerfile: string, environment: Record<string, string> = {}, more: string[] = []) {
  const out = mkdtempSync(join(services.work, "out-"));
  const state = mkdtempSync(join(services.work, "state-"));
  const context = makeContext(services.work, { Dockerfile: dockerfile });
  const env = { HTTP_PROXY: proxy, HTTPS_PROXY: proxy, NODE_EXTRA_CA_CERTS: authority, ...environment };
  const { status, stderr } = await bluekilnAside(
    ["build", "--state-dir", state, "--output", out, ...more, context],
    env,
  );
  return { status, stderr, file: (name: string) => readFileSync(join(out, name), "utf8") };
}

it("fetches base images and files through it", async () => {
  const base = services.base.replace(/^[^/]+/, "registry.test");
  const { status, stderr, file } = await build(`FROM ${base}\nADD http://files.test/a%20b /got\n`);
  expect(`${status} ${stderr}`).toMatch(/^0 /);
  expect(file("got")).toBe("from afar");
  expect(new Set(asked)).toEqual(new Set(["registry.test:443", "http://files.test/a%20b"]));
});

it("follows to where a file is now, on any port, and tells nobody else who asks", async () => {
  const secret = ["--secret", "id=HTTP_AUTH_TOKEN_files.test,env=TOKEN"];
  const dockerfile = "FROM scratch\nADD http://files.test/moved /got\n";
  const { status, stderr, file } = await build(dockerfile, { TOKEN: "mine" }, secret);
  expect(`${status} ${stderr}`).toMatch(/^0 /);
  expect(file("got")).toBe("from afar");
  expect(asked).toEqual(["http://files.test/moved", "http://other.test:6000/file"]);
  expect(seen).toEqual(["Bearer mine", undefined]);
});

it("says what a server answers, and nothing more", async () => {
  const { status, stderr } = await build("FROM scratch\nADD http://files.test/missing /got\n");
  expect(status).toBe(1);
  expect(stderr).toMatch(/failed to load cache key: invalid response status 404\s*$/);
});

it("is not asked for what is here, or where NO_PROXY says so", async () => {
  const { status, stderr, file } = await build(`FROM ${services.base}\nADD http://${direct}/x /got\n`);
  expect(`${status} ${stderr}`).toMatch(/^0 /);
  expect(file("got")).toBe("from here");
  const refused = await build("FROM scratch\nADD http://files.test/x /got\n", { NO_PROXY: ".test" });
  expect(refused.status).toBe(1);
  expect(refused.stderr).toMatch(/Get "http:\/\/files\.test\/x": dial tcp: lookup files\.test: no such host/);
  expect(asked).toEqual([]);
});
