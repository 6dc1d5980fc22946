// Random Dockerfiles of all instructions, with the variables, quotes and flags that people write; a quarter of them is
// wild: wrong in ways that people are, too.
import { random } from "./random.mjs";

const FILES = {
  "a.txt": "alpha\n",
  "b.txt": "beta\n",
  "dir/c.txt": "gamma\n",
  "dir/sub/d.md": "delta\n",
  "dir/sub/e.txt": "epsilon\n",
  "dir/.hidden": "h\n",
  empty: "",
  "run.sh": { data: "#!/bin/sh\necho hi\n", mode: 0o755 },
  "dir/link": { link: "c.txt" },
  abs: { link: "/dir/sub" },
  "sp ace/f g.txt": "space\n",
  "ünï/ö.txt": "uni\n",
  "node_modules/x/index.js": "x",
  "node_modules/y/z/index.js": "y",
  edir: { folder: true },
  secretdir: { folder: true, mode: 0o700 },
  "x.tar": "not a tar\n",
};
const VARIABLES =
  "A B FOO BAR path EMPTY UNSET VERSION TARGETARCH TARGETPLATFORM BUILDPLATFORM TARGETOS HTTP_PROXY PATH".split(
    " ",
  );
const SET = VARIABLES.slice(0, 7);
const WORDS = [
  "x",
  "foo",
  "bar-1",
  "a.b",
  "1",
  "été",
  "v1.2.3",
  "x/y",
  "a=b",
  "*",
  "foo.tar.gz",
  "--x",
  ":",
  "#h",
  "日本",
];
const COMMANDS = [
  "echo hi > /r",
  "id -u > /r",
  "pwd > /r",
  "mkdir -p /r/s && touch /r/s/t",
  "ln -s a /r; ln -s b /r2",
  "rm -rf /bin/vi",
  "chmod 700 /bin/busybox",
  "echo $A-$FOO-${BAR:-z} > /r",
  "mkfifo /p",
];

/** @param base an image with busybox @returns what is built: a Dockerfile, files of its context, options of buildctl */
export function dockerfile(seed, { base }) {
  const { chance, int, pick, times } = random(seed);
  const wild = chance(0.25);
  const usually = (good, ill) => pick(chance(wild ? 0.15 : 0.01) ? ill : good);

  const expression = (depth = 0) => {
    const name = pick(VARIABLES);
    const word = () => (depth < 2 && chance(0.3) ? expression(depth + 1) : pick(WORDS));
    const modifier = pick(["", "", "", ":-", ":+", "-", "+", "#", "/", ...(wild ? [":?", "!"] : [])]);
    if (modifier === "") return pick([`$${name}`, `\${${name}}`, `\\$${name}`]);
    if (modifier === "#")
      return `\${${name}${pick(["#", "##", "%", "%%"])}${pick(["*.", ".*", "f*", "?", "[a-f]", "v"])}}`;
    if (modifier === "/")
      return `\${${name}${pick(["/", "//"])}${pick(["o", ".", "f?", "*"])}/${pick(["", "Z", word()])}}`;
    return `\${${name}${modifier}${modifier === "!" ? "" : word()}}`;
  };
  const value = () => {
    const text = times(1, 3, () => (chance(0.5) ? expression() : pick(WORDS))).join(pick(["", "-", "/"]));
    return pick([text, text, `"${text}"`, `"${text} b\\"q"`, `'${text}'`, `${text}\\ x`]);
  };
  const source = () =>
    usually(
      [
        "a.txt",
        "b.txt",
        "dir",
        "dir/",
        "dir/sub",
        "*.txt",
        "dir/*",
        ".",
        "dir/link",
        "abs",
        "run.sh",
        "/a.txt",
        "../a.txt",
      ].concat([
        "edir",
        "secretdir",
        "?.txt",
        "[ab].txt",
        "ünï",
        "dir/./sub",
        "*/sub",
        "${UNSET:-a.txt}",
        "*/*.js",
        "*",
      ]),
      ["dir/**", "missing", "mis*ing", "no/*.txt", "a.txt dir", "$path"],
    );
  const target = () =>
    pick(["/", "/d/", "/d", "d", "d/", ".", "/x/y/z/", "$path", "../up/", "/a/../b", '"/q"', "/é/"]);
  const copyFlags = () =>
    [
      chance(0.15) &&
        `--chmod=${usually(["644", "4755", "u=rwX,go=rX", "a+x", "g-w"], ["999", "u=z", "$A"])}`,
      chance(0.15) &&
        `--chown=${usually(["1000:1000", "1:2", "5", "${UNSET:-3}:4"], [":7", "nobody", "x y"])}`,
      chance(0.12) && `--link${pick(["", "=true", "=false"])}`,
      chance(0.12) && `--exclude=${pick(["*.md", "**/*.txt", "sub", "*", "!x"])}`,
    ].filter(Boolean);

  const stages = [];
  const instruction = (isBusybox, index) => {
    const from = index > 0 && chance(0.4) && `--from=${usually([...stages, "0", base], ["nope"])}`;
    const kinds = {
      COPY: () => ["COPY", ...copyFlags(), from, from ? pick(["/", ".", "/d"]) : source(), target()],
      ADD: () => ["ADD", ...copyFlags(), pick([source(), "x.tar"]), target()],
      ENV: () => [
        "ENV",
        pick([
          `${pick(SET)}=${value()}`,
          `${pick(SET)} ${value()}`,
          `${pick(SET)}=${value()} \\\n  ${pick(SET)}=${value()}`,
        ]),
      ],
      ARG: () => [
        "ARG",
        pick([pick(VARIABLES), `${pick(VARIABLES)}=${value()}`, `${pick(VARIABLES)} ${pick(VARIABLES)}=x`]),
      ],
      LABEL: () => ["LABEL", pick([`k=${value()} l=${value()}`, `"k 1"=${value()}`, `k ${value()}`])],
      WORKDIR: () => ["WORKDIR", pick(["/w", "w", "/w/../x", "/${FOO:-d}", "..", "/sp ace", "/é"])],
      USER: () => ["USER", usually(["0:0", "1:2"], ["nobody", "$A", ""])],
      EXPOSE: () => [
        "EXPOSE",
        usually(
          ["80", "80/tcp 81/udp", "8000-8003", "80/TCP", "${UNSET:-90}"],
          ["99999", "80/foo", "1:2", ""],
        ),
      ],
      VOLUME: () => ["VOLUME", usually(["/v", '["/v1", "/v2"]', "/v1 /v2"], ["$path", '[""]', ""])],
      CMD: () => ["CMD", pick(["echo hi", '["echo", "hi"]', "[]", value(), '["a"'])],
      ENTRYPOINT: () => ["ENTRYPOINT", pick(["echo hi", '["echo", "hi"]', "[]", value()])],
      HEALTHCHECK: () => [
        "HEALTHCHECK",
        usually(
          ["NONE", "CMD true", '--interval=5s --retries=3 CMD ["true"]'],
          ["true", "--interval=1us CMD true"],
        ),
      ],
      SHELL: () => ["SHELL", usually(['["/bin/sh", "-c"]', '["/bin/sh", "-ec"]'], ["/bin/sh", "[]"])],
      STOPSIGNAL: () => ["STOPSIGNAL", usually(["SIGTERM", "9"], ["SIGFOO", ""])],
      ONBUILD: () => [
        "ONBUILD",
        usually(["RUN echo x", "COPY . /ob", "CMD x"], ["FROM x", "ONBUILD RUN x", ""]),
      ],
      MAINTAINER: () => ["MAINTAINER me"],
      document: () => [
        pick([
          "COPY <<EOF /h\nhi $A ${FOO:-x}\nEOF",
          'COPY <<"EOF" /h\nhi $A\nEOF',
          "COPY <<-EOF /h/\n\t\thi\n\tEOF",
          "COPY <<a <<b /h/\n1\na\n2\nb",
        ]),
      ],
      comment: () => [pick(["# comment", "", "\t# indented"])],
      RUN: () => {
        const command = pick(wild ? [...COMMANDS, "exit 3", "nosuchcmd"] : COMMANDS);
        const mount = pick([
          "type=bind,target=/m",
          "type=bind,target=/m,rw,source=dir",
          "type=tmpfs,target=/t",
          "type=secret,id=nope",
        ]);
        return [
          "RUN",
          pick([
            command,
            JSON.stringify(["/bin/sh", "-c", command]),
            `<<EOF\n${command}\nEOF`,
            `--mount=${mount} ${command}`,
            `--network=none ${command}`,
          ]),
        ];
      },
    };
    const names = Object.keys(kinds).filter((kind) => kind !== "RUN" || isBusybox);
    return kinds[pick([...names, "COPY", "COPY", "COPY", "ADD", "ENV", "ARG"])]().filter(Boolean).join(" ");
  };

  const lines = [];
  if (chance(0.15))
    lines.push(pick(["# escape=`", "# check=skip=all", "# check=error=true", "# check=skip=FromAsCasing"]));
  if (chance(0.4)) lines.push(`ARG ${pick(["A", "VERSION", "B"])}${pick(["", "=1", '="q x"'])}`);
  for (let index = 0; index < pick([1, 1, 1, 2, 2, 3]); index++) {
    const name = usually(["", `s${index}`, `b-x.y_z${index}`], [`Stage${index}`]);
    const from = index > 0 && chance(0.4) ? pick(stages) : pick(["scratch", base, base]);
    lines.push(
      [pick(["FROM", "FROM", "from", "From"]), from, ...(name ? [pick(["AS", "as"]), name] : [])].join(" "),
    );
    lines.push(...times(1, 7, () => instruction(from === base, index)));
    stages.push(name || String(index));
  }
  const patterns = [
    "*.md",
    "!a.txt",
    "dir/.hidden",
    "!dir/c.txt",
    "**/*.md",
    "# c",
    "",
    "/a.txt",
    "./b.txt",
    "../x",
    "d?r",
  ];
  const ignore =
    chance(0.2) && times(1, 4, () => pick(wild ? [...patterns, "a[", "!"] : patterns)).join("\n");
  const options = chance(0.2)
    ? ["--opt", `build-arg:${pick(["A", "FOO", "NOPE", "HTTP_PROXY"])}=${pick(["one", "", "two words"])}`]
    : [];
  return {
    text: `${lines.join("\n")}\n`,
    files: { ...FILES, ...(ignore !== false && { ".dockerignore": ignore }) },
    options,
  };
}
