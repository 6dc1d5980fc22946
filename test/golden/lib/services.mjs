// What the corpus's addresses stand for: a registry on port 5000, files on 5080, Azurite on 10000. The ports are fixed,
// so all of it runs in a network namespace of its own.
import { spawn, spawnSync } from "node:child_process";
import { createServer } from "node:http";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
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
  // the runner looks into it with an SDK that is newer
  const options = ["--skipApiVersionCheck"];
  if (azuritePort) children.push(startAzurite(join(folder, "azurite"), azuritePort, options));
  const files = corpus && filePort ? await startFiles(corpus, filePort, folder) : undefined;
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

async function startFiles(corpus, port, folder) {
  const repositories = join(folder, "git");
  mkdirSync(repositories, { recursive: true });
  for (const name of existsSync(join(corpus, "git")) ? readdirSync(join(corpus, "git")) : []) {
    const target = join(repositories, name.replace(/\.bundle$/, ".git"));
    spawnSync("git", ["clone", "--quiet", "--mirror", join(corpus, "git", name), target]);
    spawnSync("git", ["-C", target, "config", "uploadpack.allowAnySHA1InWant", "true"]);
  }
  const headers = readJson(join(corpus, "http", "headers.json"));
  const server = createServer((request, response) => {
    const path = request.url.slice(1).split("?")[0];
    if (path.startsWith("git/")) return serveGit(folder, request, response);
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

/** Smart http, as git's own server program speaks it; repositories lie below `folder`. */
export function serveGit(folder, request, response) {
  const { pathname, search } = new URL(request.url, "http://127.0.0.1");
  const child = spawn("git", ["http-backend"], {
    env: {
      PATH: process.env.PATH,
      GIT_PROJECT_ROOT: folder,
      GIT_HTTP_EXPORT_ALL: "1",
      GIT_PROTOCOL: request.headers["git-protocol"] ?? "",
      GIT_CONFIG_COUNT: "1",
      GIT_CONFIG_KEY_0: "safe.directory",
      GIT_CONFIG_VALUE_0: "*",
      PATH_INFO: pathname,
      QUERY_STRING: search.slice(1),
      REQUEST_METHOD: request.method,
      CONTENT_TYPE: request.headers["content-type"] ?? "",
      HTTP_CONTENT_ENCODING: request.headers["content-encoding"] ?? "",
    },
    stdio: ["pipe", "pipe", "ignore"],
  });
  request.pipe(child.stdin);
  const chunks = [];
  child.stdout.on("data", (chunk) => chunks.push(chunk));
  child.once("close", () => {
    const answer = Buffer.concat(chunks);
    const end = answer.indexOf("\r\n\r\n");
    const head = answer.subarray(0, end).toString().split("\r\n");
    const status = Number(/^Status: (\d+)/m.exec(head.join("\n"))?.[1] ?? 200);
    response.writeHead(
      status,
      Object.fromEntries(head.map((line) => line.split(/: (.*)/s)).filter(([key]) => key !== "Status")),
    );
    response.end(answer.subarray(end + 4));
  });
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
