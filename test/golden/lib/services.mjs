// What the corpus's addresses stand for: a registry on port 5000, files on 5080, Azurite on 10000. The ports are fixed,
// so all of it runs in a network namespace of its own.
import { spawn } from "node:child_process";
import { createServer } from "node:http";
import { readFileSync, writeFileSync, mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { connect } from "node:net";
import { join } from "node:path";
import { loadImages } from "./load-images.mjs";
import { readJson } from "./corpus.mjs";

export const AZURE_KEY =
  "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
export const AZURE_URL = "http://127.0.0.1:10000/devstoreaccount1";

export async function startServices(
  corpus,
  folder,
  { registryPort = 5000, azuritePort = 10000, filePort = 5080 } = {},
) {
  const children = [];
  const registryData = join(folder, "registry");
  mkdirSync(registryData, { recursive: true });
  const config = join(folder, "registry.yml");
  writeFileSync(
    config,
    `version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: ${registryData}}, delete: {enabled: true}}\nhttp: {addr: "127.0.0.1:${registryPort}"}\n`,
  );
  children.push(spawn("docker-registry", ["serve", config], { stdio: "ignore" }));
  if (azuritePort) children.push(startAzurite(join(folder, "azurite"), azuritePort));
  const files = corpus && filePort ? await startFiles(corpus, filePort) : undefined;
  await Promise.all([waitFor(registryPort), azuritePort ? waitFor(azuritePort) : undefined]);
  if (corpus) await loadImages(corpus, `http://127.0.0.1:${registryPort}`);
  return {
    stop() {
      for (const child of children) child.kill("SIGKILL");
      files?.close();
    },
  };
}

/** @param options more of Azurite's options */
export function startAzurite(folder, port, options = []) {
  mkdirSync(folder, { recursive: true });
  const require = createRequire(import.meta.url);
  const main = join(require.resolve("azurite/package.json"), "..", "dist", "src", "blob", "main.js");
  const args = [
    main,
    "--silent",
    "--disableTelemetry",
    "--skipApiVersionCheck",
    "--location",
    folder,
    "--blobHost",
    "127.0.0.1",
    "--blobPort",
    String(port),
    ...options,
  ];
  return spawn(process.execPath, args, { stdio: "ignore" });
}

function startFiles(corpus, port) {
  const headers = readJson(join(corpus, "http", "headers.json"));
  const server = createServer((request, response) => {
    const path = request.url.slice(1).split("?")[0];
    const own = headers[`/${path}`];
    if (!own) return response.writeHead(404).end();
    if (own.ETag && request.headers["if-none-match"] === own.ETag) return response.writeHead(304, own).end();
    const data = readFileSync(join(corpus, "http", "files", path));
    response
      .writeHead(200, { ...own, "content-length": data.length })
      .end(request.method === "HEAD" ? undefined : data);
  });
  return new Promise((resolve) => server.listen(port, "127.0.0.1", () => resolve(server)));
}

export async function waitFor(port, timeout = 20_000) {
  const deadline = Date.now() + timeout;
  for (;;) {
    const open = await new Promise((resolve) => {
      const socket = connect(port, "127.0.0.1", () => resolve(true)).on("error", () => resolve(false));
      socket.on("connect", () => socket.destroy());
    });
    if (open) return;
    if (Date.now() > deadline) throw new Error(`nothing listens on port ${port}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
