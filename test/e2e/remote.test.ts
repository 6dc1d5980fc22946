// Contexts, named contexts and Dockerfiles that are fetched: git repositories, archives and files behind URLs.
import { execFileSync, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
// @ts-expect-error plain JavaScript, shared with the golden runner
import { serveGit } from "../golden/lib/services.mjs";
import { bluekilnAside, makeContext } from "../support/services.js";

type GitServer = (folder: string, request: IncomingMessage, response: ServerResponse) => void;

const work = mkdtempSync(join(tmpdir(), "bluekiln-remote-"));
const TOKEN = "a-token-that-nobody-may-see";
const requests: IncomingMessage[] = [];
let server: Server;
let base: string;
let commit: string;

beforeAll(async () => {
  const tree = join(work, "tree");
  const git = (...args: string[]): string =>
    execFileSync("git", ["-C", tree, "-c", "user.name=x", "-c", "user.email=x@x", ...args], {
      encoding: "utf8",
    });
  mkdirSync(join(tree, "sub"), { recursive: true });
  writeFileSync(join(tree, "Dockerfile"), "FROM scratch\nCOPY . /\n");
  writeFileSync(join(tree, "other.Dockerfile"), "FROM scratch\nCOPY greeting /mine\n");
  writeFileSync(join(tree, "greeting"), "one\n");
  writeFileSync(join(tree, "sub", "Dockerfile"), "FROM scratch\nCOPY name /sub-name\n");
  writeFileSync(join(tree, "sub", "name"), "sub\n");
  git("init", "--quiet", "--initial-branch=main");
  git("add", ".");
  git("commit", "--quiet", "-m", "one");
  git("tag", "-a", "v1", "-m", "v1");
  commit = git("rev-parse", "HEAD").trim();
  writeFileSync(join(tree, "greeting"), "two\n");
  git("commit", "--quiet", "-a", "-m", "two");
  execFileSync("git", ["clone", "--quiet", "--bare", tree, join(work, "git", "repo.git")]);
  execFileSync("tar", ["-czf", join(work, "context.tar.gz"), "-C", tree, "Dockerfile", "greeting"]);
  server = createServer((request, response) => {
    requests.push(request);
    serve(request, response);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  writeFileSync(join(tree, "added.Dockerfile"), `FROM scratch\nADD ${base}/a%20file /\n`);
});
afterAll(() => {
  server.close();
  rmSync(work, { recursive: true, force: true });
});
beforeEach(() => {
  requests.length = 0;
});

function serve(request: IncomingMessage, response: ServerResponse): void {
  const path = request.url!;
  if (path.startsWith("/git/private.git")) {
    const wanted = `basic ${Buffer.from(`x-access-token:${TOKEN}`).toString("base64")}`;
    if (request.headers.authorization !== wanted) return void response.writeHead(401).end();
    request.url = path.replace("private", "repo");
  }
  if (path.startsWith("/git/")) return (serveGit as GitServer)(work, request, response);
  if (path === "/context.tar.gz") return void response.end(readFileSync(join(work, "context.tar.gz")));
  if (path === "/a%20file") return void response.end("FROM scratch\n");
  if (path === "/only-dockerfile") return void response.end("FROM scratch\nCOPY --from=other / /\n");
  response.writeHead(404).end();
}

async function build(...args: string[]) {
  const out = mkdtempSync(join(work, "out-"));
  const state = mkdtempSync(join(work, "state-"));
  const outcome = await bluekilnAside(["build", "--state-dir", state, "--output", out, ...args]);
  return { ...outcome, folder: out, read: (name: string): string => readFileSync(join(out, name), "utf8") };
}

function gitIn(folder: string, ...args: string[]): string {
  return execFileSync("git", ["-C", folder, "-c", `safe.directory=${folder}`, ...args], { encoding: "utf8" });
}

it("builds from a git repository, fetched once", async () => {
  const { status, stderr, read } = await build(`${base}/git/repo.git`);
  expect(stderr).toContain(`[internal] load git source ${base}/git/repo.git`);
  expect(status).toBe(0);
  expect(read("greeting")).toBe("two\n");
  expect(requests.filter(({ method }) => method === "POST").length).toBeLessThanOrEqual(2);
});

it.each([
  ["a tag", "#v1", "greeting", "one\n"],
  ["a branch", "#main", "greeting", "two\n"],
  ["a branch by more of its name", "#heads/main", "greeting", "two\n"],
  ["a tag by more of its name", "#tags/v1", "greeting", "one\n"],
  ["a folder", "#:sub", "sub-name", "sub\n"],
  ["a tag's folder by query", "?tag=v1&subdir=sub", "sub-name", "sub\n"],
])("takes %s of a repository", async (_, suffix, file, content) => {
  const { status, stderr, read } = await build(`${base}/git/repo.git${suffix}`);
  expect(stderr).not.toContain("ERROR");
  expect(status).toBe(0);
  expect(read(file)).toBe(content);
});

it("takes a commit, and refuses one that is not what was promised", async () => {
  const good = await build(`${base}/git/repo.git?ref=v1&checksum=${commit}`);
  expect(good.read("greeting")).toBe("one\n");
  const bad = await build(`${base}/git/repo.git?ref=main&checksum=${commit}`);
  expect(bad.status).toBe(1);
  expect(bad.stderr).toMatch(/expected checksum to match [0-9a-f]+, got [0-9a-f]+/);
});

it.each([
  ["a ref that is not there", "#nowhere", 'repository does not contain ref nowhere, output: ""'],
  [
    "a folder that is not there",
    "#:nowhere",
    'invalid subdir /nowhere: failed to lstat "nowhere": no such file or directory',
  ],
  ["a query that is none", "?what=1", 'unexpected query "what"'],
])("says so for %s", async (_, suffix, message) => {
  const { status, stderr } = await build(`${base}/git/repo.git${suffix}`);
  expect(status).toBe(1);
  expect(stderr).toContain(message);
});

describe("a repository that is kept", () => {
  it.each([
    ["a tag", (): string => "v1"],
    ["a commit", (): string => commit],
  ])("has tags of %s, as git describe wants them", async (_, ref) => {
    const { status, folder } = await build(`${base}/git/repo.git?ref=${ref()}&keep-git-dir=1`);
    expect(status).toBe(0);
    expect(gitIn(folder, "describe").trim()).toBe("v1");
  });

  it("has the branch it is of", async () => {
    const { folder } = await build("--build-arg", "BUILDKIT_CONTEXT_KEEP_GIT_DIR=1", `${base}/git/repo.git`);
    expect(gitIn(folder, "rev-parse", "main")).toBe(gitIn(folder, "rev-parse", "HEAD"));
  });

  it("has no password", async () => {
    const url = `${base.replace("://", "://me:SeCrEt@")}/git/repo.git?keep-git-dir=1`;
    const { status, stderr, folder } = await build(url);
    expect(status).toBe(0);
    expect(stderr).not.toContain("SeCrEt");
    expect(gitIn(folder, "remote", "get-url", "origin")).toBe(
      `${base.replace("://", "://xxxxx:xxxxx@")}/git/repo.git\n`,
    );
    expect(spawnSync("grep", ["-rl", "SeCrEt", folder], { encoding: "utf8" }).stdout).toBe("");
  });
});

it("names a file after the URL it is from, decoded", async () => {
  const { status, read } = await build("-f", join(work, "tree", "added.Dockerfile"), work);
  expect(status).toBe(0);
  expect(read("a file")).toBe("FROM scratch\n");
});

it("says so if a file is where a repository should go", async () => {
  const Dockerfile = `FROM scratch\nCOPY Dockerfile /x\nADD ${base}/git/repo.git /x\n`;
  const { status, stderr } = await build(makeContext(work, { Dockerfile }));
  expect(status).toBe(1);
  expect(stderr).toContain("cannot copy to non-directory: /x");
});

it("signs in with a token that is a secret", async () => {
  const secret = join(work, "token");
  writeFileSync(secret, TOKEN);
  const { status, stderr } = await build(
    "--secret",
    `id=GIT_AUTH_TOKEN,src=${secret}`,
    `${base}/git/private.git`,
  );
  expect(status).toBe(0);
  expect(stderr).not.toContain(TOKEN);
  const denied = await build(`${base}/git/private.git`);
  expect(denied.status).toBe(1);
  expect(denied.stderr).toContain("failed to fetch remote");
});

it("builds from an archive behind a URL", async () => {
  const { status, stderr, read } = await build(`${base}/context.tar.gz`);
  expect(stderr).not.toContain("ERROR");
  expect(status).toBe(0);
  expect(read("greeting")).toBe("two\n");
});

it("takes a URL that is a Dockerfile, and a repository as a named context", async () => {
  const { status, stderr, read } = await build(
    "--build-context",
    `other=${base}/git/repo.git#v1`,
    `${base}/only-dockerfile`,
  );
  expect(stderr).not.toContain("ERROR");
  expect(status).toBe(0);
  expect(read("greeting")).toBe("one\n");
});

it("takes a Dockerfile from a URL for a folder, and says so if it is not there", async () => {
  const folder = makeContext(work, { greeting: "local\n" });
  const named = ["--build-context", `other=${folder}`];
  const { status, read } = await build("-f", `${base}/only-dockerfile`, ...named, folder);
  expect(status).toBe(0);
  expect(read("greeting")).toBe("local\n");
  const missing = await build("-f", `${base}/nowhere`, folder);
  expect(missing.status).toBe(1);
  expect(missing.stderr).toContain("failed to download remote Dockerfile");
});

it("takes another Dockerfile of a repository", async () => {
  const { status, stderr, read } = await build("-f", "other.Dockerfile", `${base}/git/repo.git`);
  expect(stderr).not.toContain("ERROR");
  expect(status).toBe(0);
  expect(read("mine")).toBe("two\n");
});
