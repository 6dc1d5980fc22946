// A layer onto a folder that becomes an overlay's layer: whiteouts become overlayfs's, owners, modes, times and extended
// attributes are kept, and no name or link leads out of the folder.
import { createHash } from "node:crypto";
import { mkdirSync, rmSync, unlinkSync } from "node:fs";
import { BuildError, type Digest } from "../lib/index.js";
import { fsPath, makeNode, setXattr, type BytePath } from "../linux/index.js";
import { EntryWriter } from "./entry-writer.js";
import { readLayer, type LayerFile } from "./read-layer.js";
import { TarParser, type TarSink } from "./tar-parser.js";
import { join, lstatMaybe, resolveInRoot } from "./tree.js";
import type { TarEntry } from "./types.js";

const S_IFCHR = 0o020000;

export interface ApplyOptions extends LayerFile {
  readonly target: BytePath;
  /** of the uncompressed layer */
  readonly diffId: Digest | undefined;
  /** user namespaces cannot set trusted.* attributes */
  readonly userXattr: boolean;
}

export interface AppliedLayer {
  readonly diffId: Digest;
  readonly uncompressedSize: number;
  /** folders that had to be made because the archive leaves them out: they should look as in the layers below */
  readonly implied: readonly BytePath[];
}

/** @throws BuildError LAYER_INVALID, BLOB_CORRUPT */
export async function applyLayer(options: ApplyOptions, signal: AbortSignal): Promise<AppliedLayer> {
  const { file, diffId: expected } = options;
  const hash = createHash("sha256");
  let size = 0;
  const sink = new LayerSink(options);
  const parser = new TarParser(sink);
  await readLayer(options, signal, (chunk) => {
    hash.update(chunk);
    size += chunk.length;
    parser.push(chunk);
  });
  parser.finish();
  sink.finish();
  const diffId = `sha256:${hash.digest("hex")}` as Digest;
  if (expected !== undefined && diffId !== expected) {
    throw new BuildError("BLOB_CORRUPT", `layer ${file} unpacks to ${diffId}, expected ${expected}`);
  }
  return { diffId, uncompressedSize: size, implied: sink.implied };
}

class LayerSink implements TarSink {
  readonly #options: ApplyOptions;
  readonly #writer: EntryWriter;
  /** what the archive has brought; the target was empty before */
  readonly #unpacked = new Set<BytePath>();
  /** folders that had to be made for it */
  readonly #implied = new Set<BytePath>();
  /** real folder of each name that was resolved; holds until something is replaced */
  readonly #resolved = new Map<BytePath, BytePath>();

  constructor(options: ApplyOptions) {
    this.#options = options;
    this.#writer = new EntryWriter({ skipDevices: options.userXattr, skipXattrs: "trusted.overlay." });
  }

  entry(entry: TarEntry): void {
    const { target } = this.#options;
    const { parent, base } = splitName(entry.name);
    if (base === "") {
      if (entry.type === "dir") this.#writer.deferFolder(target, entry);
      return;
    }
    let folder = this.#resolved.get(parent);
    if (folder === undefined) this.#resolved.set(parent, (folder = this.#parent(parent)));
    const path = join(folder, base);
    if (base.startsWith(".wh.")) return this.#whiteout(folder, base);
    if (this.#unpacked.has(path) || this.#implied.has(path)) this.#clear(path, entry);
    this.#unpacked.add(path);
    this.#writer.create(path, entry, () => resolveInRoot(target, entry.linkname, false));
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

  /** Folders that the archive has no entry for, relative to the target. */
  get implied(): BytePath[] {
    const left = [...this.#implied].filter((path) => !this.#unpacked.has(path));
    return left.map((path) => path.slice(this.#options.target.length + 1));
  }

  #parent(parent: BytePath): BytePath {
    const { target } = this.#options;
    const folder = resolveInRoot(target, parent);
    if (lstatMaybe(folder)?.isDirectory()) return folder;
    let path = target;
    for (const part of folder
      .slice(target.length)
      .split("/")
      .filter((p) => p !== "")) {
      path = join(path, part);
      if (lstatMaybe(path)) continue;
      mkdirSync(fsPath(path), 0o755);
      this.#implied.add(path);
    }
    return folder;
  }

  #whiteout(folder: BytePath, base: BytePath): void {
    if (base === ".wh..wh..opq") {
      setXattr(
        folder,
        this.#options.userXattr ? "user.overlay.opaque" : "trusted.overlay.opaque",
        Buffer.from("y"),
      );
      return;
    }
    const name = base.slice(4);
    if (name === "" || name === "." || name === "..") return;
    const path = join(folder, name);
    if (this.#unpacked.has(path)) return;
    this.#resolved.clear();
    rmSync(fsPath(path), { recursive: true, force: true });
    makeNode(path, S_IFCHR, 0, 0);
  }

  #clear(path: BytePath, entry: TarEntry): void {
    const old = lstatMaybe(path);
    if (!old || (old.isDirectory() && entry.type === "dir")) return;
    this.#resolved.clear();
    if (old.isDirectory()) rmSync(fsPath(path), { recursive: true, force: true });
    else unlinkSync(fsPath(path));
  }
}

/** @throws BuildError LAYER_INVALID for a name that leads out of the root */
function splitName(name: BytePath): { parent: BytePath; base: BytePath } {
  const parts = name.split("/").filter((part) => part !== "" && part !== ".");
  if (parts.includes("..")) throw new BuildError("LAYER_INVALID", `layer entry "${name}" leaves the root`);
  const base = parts.pop() ?? "";
  return { parent: parts.join("/"), base };
}
