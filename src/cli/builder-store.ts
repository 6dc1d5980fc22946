// Builders by name, kept where and as docker buildx keeps them: what one of the two creates or uses, the other knows.
// Source of the format: the folder of buildx 0.29.
import { createHash } from "node:crypto";
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { BuildError, codeOf, messageOf } from "../lib/index.js";
import { tryLock } from "../linux/index.js";
import { dockerEngine, dockerFolder } from "./docker-engine.js";

type Environment = Readonly<Record<string, string | undefined>>;

export interface BuilderNode {
  readonly Name: string;
  /** "unix:///run/buildkit/buildkitd.sock", "tcp://127.0.0.1:1234" */
  readonly Endpoint: string;
  readonly Platforms: readonly { readonly os: string; readonly architecture: string }[] | null;
  readonly DriverOpts: Readonly<Record<string, string>> | null;
  readonly Flags: readonly string[] | null;
  readonly Files: Readonly<Record<string, string>> | null;
}

export interface BuilderInstance {
  readonly Name: string;
  readonly Driver: string;
  readonly Nodes: readonly BuilderNode[];
  readonly Dynamic: boolean;
}

/** Milliseconds that other processes are waited for. */
const PATIENCE = 30_000;

interface Current {
  readonly Key?: string;
  readonly Name?: string;
  readonly Global?: boolean;
}

export class BuilderStore {
  readonly #folder: string;
  /** the Docker engine a choice belongs to: other engines have their own */
  readonly #key: string;

  constructor(env: Environment) {
    this.#folder = env["BUILDX_CONFIG"] || join(dockerFolder(env), "buildx");
    this.#key = dockerEngine(env);
  }

  /** In the order of their names. */
  list(): readonly BuilderInstance[] {
    const folder = join(this.#folder, "instances");
    if (!existsSync(folder)) return [];
    return readdirSync(folder)
      .flatMap((name) => this.get(name) ?? [])
      .sort((a, b) => (a.Name < b.Name ? -1 : 1));
  }

  /** @throws BuildError BUILDER_INVALID for a file that cannot be read */
  get(name: string): BuilderInstance | undefined {
    const path = this.#path(name);
    try {
      return JSON.parse(readFileSync(path, "utf8")) as BuilderInstance;
    } catch (cause) {
      if (codeOf(cause) === "ENOENT") return undefined;
      throw new BuildError("BUILDER_INVALID", `builder ${name}: ${path}: ${messageOf(cause)}`, { cause });
    }
  }

  /** @throws BuildError BUILDER_EXISTS */
  async create(instance: BuilderInstance): Promise<void> {
    await this.#locked(() => {
      if (this.get(instance.Name))
        throw new BuildError(
          "BUILDER_EXISTS",
          `existing instance for "${instance.Name}" but no append mode, specify the node name to make changes for existing instances`,
        );
      this.#write(join("instances", instance.Name.toLowerCase()), JSON.stringify(instance));
    });
    this.touch(instance.Name);
  }

  remove(name: string): Promise<void> {
    return this.#locked(() => {
      rmSync(this.#path(name), { force: true });
      rmSync(join(this.#folder, "activity", name), { force: true });
    });
  }

  /** The builder that is used where none is named; `undefined`: the default. */
  current(): BuilderInstance | undefined {
    const { Key, Name, Global } = this.#readCurrent();
    const chosen = Name && (Global || Key === this.#key) ? this.get(Name) : undefined;
    if (chosen) return chosen;
    const fallback = this.#read(join("defaults", this.#defaultsFile));
    return fallback ? this.get(fallback) : undefined;
  }

  /** @param name empty: the default builder */
  use(name: string, { isDefault = false, isGlobal = false } = {}): Promise<void> {
    return this.#locked(() => {
      const current = { Key: this.#key, Name: name, Global: isGlobal };
      this.#write("current", JSON.stringify(current));
      const file = join("defaults", this.#defaultsFile);
      if (isDefault) this.#write(file, name);
      else rmSync(join(this.#folder, file), { force: true });
    });
  }

  /** Remembers that it was used now. */
  touch(name: string): void {
    this.#write(join("activity", name), `${new Date().toISOString().slice(0, 19)}Z`);
  }

  /** When it was last used. */
  activity(name: string): Date | undefined {
    const text = this.#read(join("activity", name));
    return text ? new Date(text) : undefined;
  }

  #path(name: string): string {
    return join(this.#folder, "instances", checkedName(name).toLowerCase());
  }

  get #defaultsFile(): string {
    return createHash("sha256").update(this.#key).digest("hex").slice(0, 20);
  }

  #readCurrent(): Current {
    try {
      return JSON.parse(this.#read("current") ?? "{}") as Current;
    } catch {
      // somebody was stopped while writing it
      return {};
    }
  }

  #read(path: string): string | undefined {
    try {
      return readFileSync(join(this.#folder, path), "utf8");
    } catch {
      return undefined;
    }
  }

  #write(path: string, text: string): void {
    const full = join(this.#folder, path);
    mkdirSync(join(full, ".."), { recursive: true, mode: 0o700 });
    writeFileSync(full, text, { mode: 0o600 });
  }

  /** buildx holds the lock while it asks builders how they are. @throws BuildError TIMEOUT */
  async #locked(task: () => void): Promise<void> {
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
    const path = join(this.#folder, ".lock");
    const fd = openSync(path, "w", 0o600);
    try {
      const limit = Date.now() + PATIENCE;
      while (!tryLock(fd)) {
        if (Date.now() > limit) throw new BuildError("TIMEOUT", `${path} is locked by another process`);
        await sleep(50);
      }
      task();
    } finally {
      closeSync(fd);
    }
  }
}

/** @throws BuildError BUILDER_INVALID */
export function checkedName(name: string): string {
  if (/^[a-zA-Z][a-zA-Z0-9._-]*$/.test(name)) return name;
  throw new BuildError(
    "BUILDER_INVALID",
    `invalid name ${name}, name needs to start with a letter and may not contain symbols, except ._-`,
  );
}
