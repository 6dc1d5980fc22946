// Overlay mounts of one thread. Layers are named relative to the state folder, which is the thread's working directory:
// the options of an overlay mount must fit into one page.
import { chmodSync, chownSync, mkdirSync } from "node:fs";
import { join, lstat, readLink } from "../layer/index.js";
import {
  bytePath,
  changeDirectory,
  fsPath,
  mount,
  MS_BIND,
  MS_RDONLY,
  privateMounts,
  textOf,
  unmount,
  type BytePath,
  inUserNamespace,
} from "../linux/index.js";
import type { Tree, WritableTree } from "./types.js";

export class Mounts implements Disposable {
  readonly #stateRoot: BytePath;
  readonly #own: BytePath;
  readonly #prefix: string;
  readonly #active: BytePath[] = [];
  /** mount points of this thread that nothing is mounted on */
  static readonly #idle: BytePath[] = [];
  static #counter = 0;

  /** @param own folder of this process, below the state folder */
  constructor(stateRoot: string, own: string, prefix: string) {
    this.#stateRoot = bytePath(stateRoot);
    this.#own = bytePath(own);
    this.#prefix = prefix;
  }

  /** Once in every thread. */
  static prepareThread(stateRoot: string): void {
    privateMounts();
    changeDirectory(bytePath(stateRoot));
  }

  absolute(relative: string): BytePath {
    return `${this.#stateRoot}/${bytePath(relative)}`;
  }

  /** A folder that shows `tree`; it must not be written to. */
  view(tree: Tree): BytePath {
    if (tree.kind === "folder") return bytePath(tree.path);
    if (tree.kind === "whole") return `${this.#stateRoot}/${this.#original(bytePath(tree.layer))}`;
    const { layers } = tree;
    if (layers.length === 0) return this.#folder();
    const target = this.#folder();
    // overlayfs wants two, and a lone layer may have whiteouts that must not show
    const lower = layers.length === 1 ? [this.#emptyFolder(), layers[0]!] : layers;
    mount("overlay", target, "overlay", MS_RDONLY, this.#lowerdir(lower));
    this.#active.push(target);
    return target;
  }

  /**
   * A folder that shows `tree` and takes changes. They are worth nothing if the machine fails meanwhile: nothing is
   * synced.
   */
  writable({ layers, upper, work }: WritableTree): BytePath {
    if (layers.length === 0) return this.absolute(upper);
    const below = lstat(join(this.#stateRoot, this.#original(bytePath(layers[layers.length - 1]!))));
    const own = fsPath(this.absolute(upper));
    chownSync(own, Number(below.uid), Number(below.gid));
    chmodSync(own, Number(below.mode & 0o7777n));
    mkdirSync(fsPath(this.absolute(work)), { recursive: true });
    const target = this.#folder();
    const options = [
      this.#lowerdir(layers),
      `upperdir=${bytePath(upper)}`,
      `workdir=${bytePath(work)}`,
      "index=off",
      "volatile",
      // both would leave layers that only this overlay understands; userxattr rules them out by itself
      ...(inUserNamespace() ? ["userxattr"] : ["redirect_dir=off", "metacopy=off"]),
    ];
    mount("overlay", target, "overlay", 0, options.join(","));
    this.#active.push(target);
    return target;
  }

  /** Folders for changes that nobody keeps, on a tmpfs of their own. */
  scratchFolder(name: string): { upper: string; work: string } {
    const folder = this.tmpfs();
    const relative = textOf(folder.slice(this.#stateRoot.length + 1));
    mkdirSync(fsPath(`${folder}/${name}`));
    mkdirSync(fsPath(`${folder}/work`));
    return { upper: `${relative}/${name}`, work: `${relative}/work` };
  }

  bind(source: BytePath, target: BytePath): void {
    mount(source, target, "", MS_BIND);
    this.#active.push(target);
  }

  tmpfs(): BytePath {
    const target = this.#folder();
    mount("tmpfs", target, "tmpfs", 0, "mode=0755");
    this.#active.push(target);
    return target;
  }

  [Symbol.dispose](): void {
    for (const target of this.#active.reverse()) unmount(target);
    // Used again instead of removed: removing what was just a mount point takes milliseconds.
    Mounts.#idle.push(...this.#active);
    this.#active.length = 0;
  }

  /** Uppermost first. What a layer that comes twice says further down is said again above, and overlayfs takes none twice. */
  #lowerdir(layers: readonly string[]): string {
    const folders = [...layers].reverse().map((layer) => this.#original(bytePath(layer)));
    return `lowerdir=${[...new Set(folders)].join(":")}`;
  }

  /** The folder of a layer that stands on others than it was made on. */
  #original(layer: BytePath): BytePath {
    const path = `${this.#stateRoot}/${layer}`;
    if (!lstat(path).isSymbolicLink()) return layer;
    return this.#original(join(layer.slice(0, layer.lastIndexOf("/")), readLink(path)));
  }

  #folder(): BytePath {
    const idle = Mounts.#idle.pop();
    if (idle !== undefined) return idle;
    const folder = `${this.#own}/m-${this.#prefix}-${++Mounts.#counter}`;
    mkdirSync(fsPath(folder));
    return folder;
  }

  /** Relative to the state folder. */
  #emptyFolder(): string {
    const folder = `${this.#own}/empty`;
    mkdirSync(fsPath(folder), { recursive: true });
    return textOf(folder.slice(this.#stateRoot.length + 1));
  }
}
