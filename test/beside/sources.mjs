// Random Dockerfiles of what is fetched: files and repositories, as contexts, as sources of ADD, as named contexts; for
// one platform or several.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { serveGit } from "../golden/lib/services.mjs";
import { random } from "./random.mjs";

const MODIFIED = { "last-modified": "Tue, 14 Nov 2023 22:13:20 GMT" };
const REPOSITORY = `
  umask 022; export GIT_AUTHOR_DATE="1700000000 +0000" GIT_COMMITTER_DATE="1700000000 +0000"
  git config --global --get user.name >/dev/null || export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
  export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=protocol.file.allow GIT_CONFIG_VALUE_0=always
  git init -q -b main lib && (cd lib && echo lib > lib.txt && git add . && git commit -qm lib)
  git clone -q --bare lib git/lib.git
  git init -q -b main work && cd work
  mkdir -p sub/deep ünï .hid; echo one > a.txt; echo two > sub/b.txt; echo x > sub/deep/run.sh; chmod 755 sub/deep/run.sh
  ln -s b.txt sub/link; ln -s ../a.txt sub/up; echo u > ünï/ö; echo h > .hid/h
  printf 'FROM scratch\\nCOPY . /ctx\\n' > Dockerfile; cp Dockerfile sub/; printf '.hid\\n' > .dockerignore
  printf '*.crlf text eol=crlf\\n' > .gitattributes; printf 'l1\\nl2\\n' > t.crlf
  git add . && git commit -qm first && git tag light
  echo three >> a.txt; git add . && git commit -qm second && git tag -a heavy -m heavy && git tag sub
  git checkout -q -b feature/x && echo f > f.txt && git add . && git commit -qm feature
  git checkout -q main
  git checkout -q -b modules && git submodule --quiet add ../git/lib.git mod && sed -i 's#url = .*#url = ../lib.git#' .gitmodules && git add . && git commit -qm modules
  git checkout -q main && cd .. && git clone -q --mirror work git/repo.git
  git -C git/repo.git config uploadpack.allowAnySHA1InWant true`;

/** Files and repositories over http. @returns their address, commits of the repository, and what ends it */
export async function startOrigin(work) {
  const root = join(work, "origin");
  mkdirSync(join(root, "git"), { recursive: true });
  const made = spawnSync("bash", ["-ec", REPOSITORY], { cwd: root, encoding: "utf8" });
  if (made.status !== 0) throw new Error(made.stderr);
  const commit = (name) =>
    spawnSync("git", ["-C", join(root, "git", "repo.git"), "rev-parse", name], {
      encoding: "utf8",
    }).stdout.trim();
  const pack = (file, flags) =>
    spawnSync("tar", [flags, join(root, file), "--exclude=.git", "-C", join(root, "work"), "."]);
  pack("ctx.tar", "-cf");
  pack("ctx.tar.gz", "-czf");
  pack("ctx.tar.xz", "-cJf");
  writeFileSync(join(root, "top.tar"), spawnSync("tar", ["-c", "-C", root, "work"]).stdout);
  const files = {
    "plain.txt": "plain\n",
    Dockerfile: "FROM scratch\nCOPY Dockerfile /\nLABEL from=http\n",
    "sp ace.txt": "space\n",
    empty: "",
    ...Object.fromEntries(
      ["ctx.tar", "ctx.tar.gz", "ctx.tar.xz", "top.tar"].map((name) => [
        name,
        readFileSync(join(root, name)),
      ]),
    ),
  };
  const server = createServer((request, response) => {
    const path = decodeURIComponent(request.url.slice(1).split("?")[0]);
    if (path.startsWith("git/")) return serveGit(root, request, response);
    if (path === "moved") return response.writeHead(302, { location: "/plain.txt" }).end();
    if (path === "error") return response.writeHead(500).end();
    if (path === "closed") return response.writeHead(401).end();
    const name = path === "named" ? "plain.txt" : path === "noname/" ? "plain.txt" : path;
    const data = files[name];
    if (data === undefined) return response.writeHead(404).end();
    const named = path === "named" && { "content-disposition": 'attachment; filename="a name.bin"' };
    const headers = {
      ...(path !== "empty" && MODIFIED),
      ...named,
      "content-length": Buffer.byteLength(data),
    };
    response.writeHead(200, headers).end(request.method === "HEAD" ? undefined : data);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    address: `127.0.0.1:${server.address().port}`,
    commits: {
      main: commit("main"),
      light: commit("light"),
      heavy: commit("heavy"),
      feature: commit("feature/x"),
    },
    stop: () => void server.closeAllConnections(server.close()),
  };
}

/**
 * @param base an image with busybox
 * @param origin see startOrigin
 * @returns what is built
 */
export function sources(seed, { base, origin }) {
  const { chance, pick, times } = random(seed);
  const { commits } = origin;
  const http = `http://${origin.address}`;
  const repository = `${http}/git/repo.git`;
  const ref = () =>
    pick([
      ...[
        "",
        "",
        "#",
        "#main",
        "#light",
        "#heavy",
        "#feature/x",
        "#modules",
        "#sub",
        "#refs/heads/main",
        "#refs/tags/heavy",
      ],
      ...[
        `#${commits.light}`,
        `#${commits.main}`,
        "#:sub",
        "#main:sub",
        "#heavy:sub/deep",
        "#modules:mod",
        "#main:/sub/",
      ],
      ...[
        "#main:a.txt",
        "#main:nope",
        "#nope",
        `#${commits.main.slice(0, 12)}`,
        `#${"0".repeat(40)}`,
        "#main:../x",
      ],
      ...[
        "?ref=light",
        "?branch=feature/x",
        "?tag=heavy",
        "?subdir=sub",
        "?ref=main&subdir=sub",
        "?keep-git-dir=true",
      ],
      ...[
        "?submodules=false",
        "?checksum=" + commits.main,
        "?commit=" + commits.light,
        "?nope=1",
        "?ref=main#light",
      ],
      ...[`?ref=heavy&checksum=${commits.main.slice(0, 10)}`, "?branch=light", "?tag=main"],
    ]);
  const git = () => `${repository}${ref()}`;
  const file = () =>
    `${http}/${pick(["plain.txt", "plain.txt", "plain.txt?x=1", "plain.txt#frag", "sp%20ace.txt", "empty", "named", "moved", "noname/", "ctx.tar", "ctx.tar.gz", "ctx.tar.xz", "gone", "error", "closed", ""])}`;
  const PLAIN = `sha256:${createHash("sha256").update("plain\n").digest("hex")}`;
  const flags = () =>
    [
      chance(0.2) && `--chown=${pick(["1:2", "65534", "nobody"])}`,
      chance(0.2) && `--chmod=${pick(["700", "0644", "u+x", "go-r"])}`,
      chance(0.2) && "--link",
      chance(0.2) && `--keep-git-dir=${pick(["true", "false"])}`,
      chance(0.15) &&
        `--checksum=${pick([commits.main, commits.light, commits.main.slice(0, 8), PLAIN, "sha256:12", "md5:1"])}`,
      chance(0.15) && `--exclude=${pick(["a.txt", "*.txt", "sub", "**/link"])}`,
      chance(0.15) && `--unpack${pick(["", "=true", "=false"])}`,
    ].filter(Boolean);
  const target = () => pick(["/", "/x", "/x/", "x", "/d/e/", "/a.txt"]);
  const platforms = pick([
    [],
    [],
    [],
    ["linux/amd64", "linux/arm64"],
    ["linux/arm64"],
    ["linux/arm/v7", "linux/amd64"],
  ]);
  const named = times(0, 2, (_, i) => [
    `c${i}`,
    pick([git, file, () => "local:other", () => `docker-image://${base}`])(),
  ]);
  const from = () =>
    pick([
      "scratch",
      "scratch",
      "scratch",
      ...named.map(([name]) => name),
      ...(platforms.length > 0 ? [`--platform=$BUILDPLATFORM ${base}`] : [base]),
    ]);
  let stage = 0;
  const step = () =>
    pick([
      () => ["ADD", ...flags(), git(), target()],
      () => ["ADD", ...flags(), file(), target()],
      () => ["ADD", ...flags(), file(), pick([file, git, () => "a.txt"])(), pick(["/many/", "/many"])],
      () =>
        ["COPY", chance(0.3) && "--link", pick(["a.txt", ".", "sub", "Dockerfile"]), target()].filter(
          Boolean,
        ),
      () => [
        "COPY",
        `--from=${pick([...named.map(([name]) => name), "s0"])}`,
        pick(["/", "a.txt", "sub", "plain.txt", "*.txt"]),
        target(),
      ],
      () => ["ARG", pick(["TARGETPLATFORM", "TARGETARCH", "BUILDPLATFORM", "TARGETVARIANT", "X=1"])],
      () => ["LABEL", "l=$TARGETPLATFORM-$TARGETARCH-$TARGETVARIANT-$BUILDARCH"],
      () => ["WORKDIR", pick(["/w", "rel", "/$TARGETARCH"])],
      () => ["FROM", from(), "AS", `s${++stage}`],
    ])().join(" ");
  const text = [`FROM ${from()} AS s0`, ...times(1, 4, step)].join("\n") + "\n";
  const context = chance(0.3) && pick([git, file])();
  const options = [
    ...named.flatMap(([name, value]) => ["--opt", `context:${name}=${value}`]),
    ...(platforms.length > 0 ? ["--opt", `platform=${platforms.join()}`] : []),
    ...(context ? ["--opt", `context=${context}`] : []),
    ...(context && chance(0.3)
      ? ["--opt", `filename=${pick(["sub/Dockerfile", "nope", "../Dockerfile", "/Dockerfile"])}`]
      : []),
    ...(context && chance(0.2) ? ["--opt", `contextsubdir=${pick(["sub", "work", "nope"])}`] : []),
    ...(context && chance(0.2) ? ["--opt", `contextkeyword:x=1`] : []),
    ...(chance(0.15) ? ["--opt", "build-arg:BUILDKIT_CONTEXT_KEEP_GIT_DIR=1"] : []),
    ...(chance(0.05) ? ["--opt", `multi-platform=${pick(["true", "false"])}`] : []),
  ];
  return {
    text,
    files: { "a.txt": "local\n", "sub/b.txt": "b\n", "other/o.txt": "o\n" },
    options,
    locals: ["other"],
  };
}
