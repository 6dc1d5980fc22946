// Random steps that make, move, link and remove files, and copy them over one another: what layers are made of.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { random } from "./random.mjs";

const PATHS =
  "/a /d /d/x /d/s /d/s/z /d/l /d/ls /e /q /q/w /new /new/sub /usr/x /lnk /lnk/in /t/d /o /o/n".split(" ");
const SOURCES = [
  "a",
  "d",
  "d/",
  "d/x",
  "d/l",
  "ldir",
  "lfile",
  "ldir/",
  "e",
  "m",
  "sticky",
  ".",
  "n/",
  "q",
  "d/ls",
  "a b",
];
const CONTENTS = [
  "mkdir -p q/w/e; echo 1 > q/w/f; chmod 2755 q/w; ln -s w/f q/l; ln q/w/f q/h",
  "mkdir -p usr/bin; echo x > usr/bin/x; chmod 4755 usr/bin/x; chown 7:8 usr/bin/x",
  "mkfifo p; mknod c c 1 3; mknod b b 7 0",
  "echo a > 'sp ace'; echo b > ünï; touch -d '2001-02-03 04:05:06.789' t",
  "ln -s /etc/passwd abs; ln -s ../../x up; ln -s nowhere dang",
  "mkdir d; echo over > d/over; chown 100000:100000 d",
  "touch .wh.gone; mkdir -p o; touch o/.wh..wh..opq; echo n > o/n",
];

function archive({ chance, pick }) {
  const folder = mkdtempSync(join(tmpdir(), "archive-"));
  const command = CONTENTS.filter(() => chance(0.35)).join("; ") || "echo only > only";
  spawnSync("bash", ["-c", `umask 022; ${command}`], { cwd: folder });
  const format = [
    pick(["--format=ustar", "--format=pax", "--format=gnu"]),
    pick(["-c", "-cz", "-cj", "-cJ"]),
  ];
  const { stdout } = spawnSync("tar", [...format, "."], { cwd: folder });
  rmSync(folder, { recursive: true });
  return stdout;
}

/** @param base an image with busybox @returns what is built: a Dockerfile and files of its context */
export function fileSteps(seed, { base }) {
  const choices = random(seed);
  const { chance, pick, times } = choices;
  const files = {
    a: "alpha\n",
    b: { data: "beta\n", mode: 0o600 },
    "d/x": "dx\n",
    "d/y": { data: "dy\n", mode: 0o755 },
    "d/s/z": "dsz\n",
    "d/l": { link: "x" },
    "d/ls": { link: "s" },
    lfile: { link: "a" },
    ldir: { link: "d" },
    e: { folder: true },
    m: { folder: true, mode: 0o2777 },
    sticky: { folder: true, mode: 0o1777 },
    "n/d": "a file named d\n",
    "q/w": "w is a file\n",
    "one.tar": archive(choices),
    "two.tar": archive(choices),
  };
  const command = (at) => {
    const [p, q] = [pick(PATHS), pick(PATHS)];
    return pick([
      ...[
        `rm -rf ${p}`,
        `mkdir -p ${p}`,
        `echo ${at} > ${p}`,
        `mv ${p} ${q}`,
        `cp -a ${p} ${q}`,
        `ln -s ${p} ${q}`,
      ],
      ...[
        `ln ${p} ${q}`,
        `chmod ${pick(["700", "4755", "a-w", "1777"])} ${p}`,
        `chown ${pick(["3:4", "70000"])} ${p}`,
      ],
      ...[`touch ${p}`, `rm -rf ${p} && mkdir ${p} && echo n > ${p}/n`, `mkfifo ${p}`, `echo more >> ${p}`],
      ...[`cp -r ${p}/. ${q}`, `chmod -R g+w ${p}`, `ln -sfn ${p} ${q}`, `truncate -s 10000 ${p}`],
    ]);
  };
  const flags = () =>
    [
      chance(0.2) && "--link",
      chance(0.15) && `--chown=${pick(["1:2", "65534", "100000:5"])}`,
      chance(0.15) && `--chmod=${pick(["700", "2755", "u+x,g-r", "1777"])}`,
    ].filter(Boolean);
  let stage = 0;
  const step = (at) => {
    const to = pick([pick(PATHS), `${pick(PATHS)}/`, "/", "rel/"]);
    const kind = pick(["run", "run", "run", "copy", "copy", "add", "stage", "workdir"]);
    if (kind === "run") return [`RUN ${times(1, 5, () => command(at)).join("; ")}; true`];
    if (kind === "copy") return [["COPY", ...flags(), pick(SOURCES), to].join(" ")];
    if (kind === "add") return [["ADD", ...flags(), pick(["one.tar", "two.tar", "a"]), to].join(" ")];
    if (kind === "workdir") return [`WORKDIR ${pick(PATHS)}`];
    const before = stage++;
    const copy = [
      "COPY",
      ...flags(),
      `--from=s${before}`,
      pick(["/", "/t", "/d", "/usr"]),
      pick(["/", "/got/", "/t"]),
    ];
    return [`FROM ${pick([base, `s${before}`])} AS s${stage}`, copy.join(" ")];
  };
  const lines = [`FROM ${base} AS s0`, "RUN mkdir -p /t /usr && echo 1 > /t/one"];
  let at = 0;
  lines.push(...times(3, 9, () => step(++at)).flat());
  return { text: `${lines.join("\n")}\n`, files, options: [] };
}
