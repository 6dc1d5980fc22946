// ADD of an archive: a tar file, compressed or not, is unpacked instead of copied.
import { spawn } from "node:child_process";
import { closeSync, createReadStream, openSync, readSync, rmSync } from "node:fs";
import { createGunzip } from "node:zlib";
import { PassThrough, pipeline, type Readable } from "node:stream";
import { BuildError } from "../lib/index.js";
import {
  EntryWriter,
  join,
  lstatMaybe,
  resolveInRoot,
  TarParser,
  type TarEntry,
  type TarSink,
} from "../layer/index.js";
import { fsPath, textOf, type BytePath } from "../linux/index.js";
import { ensureFolder, makeFolders, type Owner } from "./copy.js";

/** @returns whether `path` is an archive and was unpacked into the folder `dest` */
export async function unpackArchive(
  sourceRoot: BytePath,
  path: BytePath,
  targetRoot: BytePath,
  dest: BytePath,
  owner: Owner | undefined,
  time: bigint | undefined,
): Promise<boolean> {
  const file = resolveInRoot(sourceRoot, path);
  if (!lstatMaybe(file)?.isFile()) return false;
  if (!(await isArchive(file))) return false;
  const folder = resolveInRoot(targetRoot, dest);
  ensureFolder(targetRoot, folder, 0o755, owner, time);
  const sink = new UnpackSink(folder, owner);
  const parser = new TarParser(sink);
  for await (const chunk of decompressed(file)) parser.push(chunk as Buffer);
  parser.finish();
  sink.finish();
  return true;
}

const COMPRESSIONS: readonly { magic: Buffer; open: (file: BytePath) => Readable }[] = [
  { magic: Buffer.from([0x1f, 0x8b]), open: gunzip },
  { magic: Buffer.from("BZh"), open: (file) => command("bzip2", file) },
  { magic: Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a]), open: (file) => command("xz", file) },
  { magic: Buffer.from([0x28, 0xb5, 0x2f, 0xfd]), open: (file) => command("zstd", file) },
];

/** Opened in this thread: those that read for Node do not see its mounts. */
function streamOf(file: BytePath): Readable {
  return createReadStream("", { fd: openSync(fsPath(file), "r") });
}

function gunzip(file: BytePath): Readable {
  const out = createGunzip();
  // each ends with the other
  pipeline(streamOf(file), out, () => undefined);
  return out;
}

/** What a program makes of a file: it ends only if the program has not failed. */
function command(name: string, file: BytePath): Readable {
  const fd = openSync(fsPath(file), "r");
  const child = spawn(name, ["-dc"], { stdio: [fd, "pipe", "pipe"] });
  closeSync(fd);
  const out = new PassThrough();
  let said = "";
  child.stderr!.setEncoding("utf8").on("data", (text: string) => (said += text));
  child.stdout!.pipe(out, { end: false });
  child.once("error", (cause) =>
    out.destroy(
      new BuildError("ARCHIVE_UNREADABLE", `${name} is needed to unpack ${textOf(file)}`, { cause }),
    ),
  );
  child.once("close", (status) => {
    if (status === 0) out.end();
    else out.destroy(new BuildError("ARCHIVE_INVALID", `exit status ${status}: ${said.trim()}`));
  });
  out.once("close", () => child.kill());
  return out;
}

function decompressed(file: BytePath): Readable {
  const head = Buffer.alloc(8);
  const fd = openSync(fsPath(file), "r");
  readSync(fd, head, 0, 8, 0);
  closeSync(fd);
  const known = COMPRESSIONS.find(({ magic }) => head.subarray(0, magic.length).equals(magic));
  return known ? known.open(file) : streamOf(file);
}

/** Whether the first bytes, uncompressed, are a tar header. */
async function isArchive(file: BytePath): Promise<boolean> {
  let head = Buffer.alloc(0);
  const stream = decompressed(file);
  try {
    for await (const chunk of stream) {
      head = Buffer.concat([head, chunk as Buffer]);
      if (head.length >= 512) break;
    }
  } catch {
    return false;
  } finally {
    stream.destroy();
  }
  if (head.length < 512) return false;
  try {
    const parser = new TarParser({ entry: () => undefined, data: () => undefined, end: () => undefined });
    parser.push(head.subarray(0, 512));
    return parser.sawHeader;
  } catch {
    return false;
  }
}

class UnpackSink implements TarSink {
  readonly #root: BytePath;
  readonly #owner: Owner | undefined;
  readonly #writer: EntryWriter;

  constructor(root: BytePath, owner: Owner | undefined) {
    this.#root = root;
    this.#owner = owner;
    this.#writer = new EntryWriter({ owner });
  }

  entry(entry: TarEntry): void {
    const parts = entry.name.split("/").filter((part) => part !== "" && part !== ".");
    if (parts.includes(".."))
      throw new BuildError("ARCHIVE_INVALID", `archive entry "${textOf(entry.name)}" leaves the destination`);
    const base = parts.pop();
    if (base === undefined) return;
    const parent = resolveInRoot(this.#root, parts.join("/"));
    makeFolders(parent, 0o755, this.#owner, undefined);
    const path = join(parent, base);
    const old = lstatMaybe(path);
    if (old && !(old.isDirectory() && entry.type === "dir"))
      rmSync(fsPath(path), { recursive: true, force: true });
    this.#writer.create(path, entry, () => resolveInRoot(this.#root, entry.linkname, false));
  }

  data(chunk: Buffer): void {
    this.#writer.data(chunk);
  }

  end(): void {
    this.#writer.end();
  }

  finish(): void {
    this.#writer.finish();
  }
}
