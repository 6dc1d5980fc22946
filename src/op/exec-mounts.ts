// What a command sees besides its own files: the mounts of an exec op, or of a frontend's container, made ready, and what
// was written to them.
import { posix } from "node:path";
import { BuildError } from "../lib/index.js";
import { PLAIN_COPY, type Mount, type SecretEnv } from "../llb/index.js";
import type { CacheMount, Ref } from "../snapshot/index.js";
import type { RunMount, WritableTree } from "../worker/index.js";
import type { OpContext, RefResult } from "./context.js";

/** What a command writes to a mount whose result is kept. */
interface Changes {
  readonly base: Ref | undefined;
  readonly tree: WritableTree;
}

export interface PreparedMounts {
  readonly target: WritableTree;
  readonly readonlyRoot: boolean;
  /** all but the root */
  readonly others: readonly RunMount[];
}

export class ExecMounts {
  readonly #context: OpContext;
  readonly #mounts: readonly Mount[];
  readonly #cwd: string;
  readonly #description: string;
  readonly #changed = new Map<Mount, Changes>();
  /** folders of cache mounts by id and base: an id that is mounted twice is one folder, locked once */
  readonly #caches = new Map<string, CacheMount>();
  #inputs: readonly (Ref | undefined)[] = [];

  /**
   * @param cwd what relative mount points are relative to
   * @param description of what runs: "exec /bin/sh -c make"
   */
  constructor(context: OpContext, mounts: readonly Mount[], cwd: string, description: string) {
    this.#context = context;
    this.#mounts = mounts;
    this.#cwd = cwd;
    this.#description = description;
  }

  /** To be released whatever happens. @throws BuildError LLB_INVALID, SECRET_MISSING, SSH_MISSING */
  async prepare(inputs: readonly (Ref | undefined)[], signal: AbortSignal): Promise<PreparedMounts> {
    this.#inputs = inputs;
    const root = this.#mounts.find((mount) => mount.dest === "/");
    if (!root) throw new BuildError("LLB_INVALID", "a container has to have a root mount");
    const target = await this.#writable(root, signal);
    const others: RunMount[] = [];
    // cache folders always in the same order: two commands that lock the same ones never wait for each other
    for (const mount of [...this.#mounts].sort(byCacheId)) {
      if (mount === root) continue;
      const prepared = await this.#mount(mount, signal);
      if (prepared) others.push(prepared);
    }
    others.sort((a, b) => (a.destination < b.destination ? -1 : 1));
    return { target, readonlyRoot: root.readonly, others };
  }

  /** What was made, by output. */
  async results(): Promise<readonly RefResult[]> {
    const { refs, made } = this.#context;
    const outputs: RefResult[] = [];
    for (const mount of this.#mounts) {
      // secrets and the like say 0 because they say nothing
      if (mount.output < 0 || mount.mountType !== "BIND") continue;
      const changes = mount.readonly ? undefined : this.#changed.get(mount);
      if (changes) {
        const ref = await refs.commit(changes.tree.upper, changes.base, this.#description.slice(0, 200));
        made(ref);
        outputs[mount.output] = { ref };
      } else outputs[mount.output] = { ref: this.#inputs[mount.input] };
    }
    return outputs;
  }

  /** Keeps what the mounts of a command that failed are now. */
  async leave(error: unknown): Promise<void> {
    const { refs, failed, transient } = this.#context;
    if (!failed) return;
    const inputs = this.#mounts.map(({ input }) => this.#inputs[input]);
    try {
      const mounts = await Promise.all(
        this.#mounts.map(async (mount, i) => {
          const changes = this.#changed.get(mount);
          if (!changes) return inputs[i];
          const ref = await refs.commit(
            changes.tree.upper,
            changes.base,
            `failed ${this.#description}`.slice(0, 200),
          );
          transient(ref);
          return ref;
        }),
      );
      failed(error, { inputs, mounts });
    } catch {
      // the command's own error is what counts
    }
  }

  async release(): Promise<void> {
    for (const { tree } of this.#changed.values()) await this.#context.refs.discard(tree.upper);
    for (const cache of this.#caches.values()) cache.release();
  }

  /** Layers to write to on top of what is mounted. */
  async #writable(mount: Mount, signal: AbortSignal): Promise<WritableTree> {
    const { refs } = this.#context;
    const base = this.#inputs[mount.input];
    const tree = { layers: await refs.folders(base, signal), ...refs.newFolders() };
    this.#changed.set(mount, { base, tree });
    return tree;
  }

  async #mount(mount: Mount, signal: AbortSignal): Promise<RunMount | undefined> {
    const { refs, session } = this.#context;
    const destination = posix.resolve("/", this.#cwd, mount.dest);
    const { readonly } = mount;
    const layers = mount.input < 0 ? [] : await refs.folders(this.#inputs[mount.input], signal);
    switch (mount.mountType) {
      case "BIND":
        if (!readonly) {
          const tree = await this.#writable(mount, signal);
          return { destination, readonly, source: { kind: "writable", tree, selector: mount.selector } };
        }
        return {
          destination,
          readonly,
          source: { kind: "tree", tree: { kind: "layers", layers }, selector: mount.selector, scratch: true },
        };
      case "TMPFS":
        return { destination, readonly, source: { kind: "tmpfs", size: mount.TmpfsOpt?.size ?? 0 } };
      case "CACHE": {
        const base = this.#inputs[mount.input];
        const key = `${mount.cacheOpt?.ID}\0${base?.id}`;
        const cache = this.#caches.get(key) ?? (await this.#acquireCache(mount, base, signal));
        this.#caches.set(key, cache);
        return {
          destination,
          readonly,
          source: { kind: "cache", folder: cache.folder, selector: mount.selector },
        };
      }
      case "SECRET": {
        const opt = mount.secretOpt!;
        const data = await session.secret(opt.ID);
        if (!data) {
          if (opt.optional) return undefined;
          throw new BuildError("SECRET_MISSING", `secret ${opt.ID}: not found`);
        }
        return {
          destination,
          readonly: true,
          source: { kind: "file", data, mode: opt.mode, uid: opt.uid, gid: opt.gid },
        };
      }
      case "SSH": {
        const opt = mount.SSHOpt!;
        const path = await session.agentSocket(opt.ID);
        if (path === undefined) {
          if (opt.optional) return undefined;
          throw new BuildError("SSH_MISSING", `unset ssh forward key ${opt.ID === "" ? "default" : opt.ID}`);
        }
        return {
          destination,
          readonly: false,
          source: { kind: "agent", path, mode: opt.mode, uid: opt.uid, gid: opt.gid },
        };
      }
    }
  }

  /** The folder of a cache mount; a new one begins as what it is mounted from. */
  #acquireCache(mount: Mount, base: Ref | undefined, signal: AbortSignal): Promise<CacheMount> {
    const { cacheMounts, refs, worker } = this.#context;
    const id = mount.cacheOpt?.ID ?? "";
    const copy = {
      kind: "copy" as const,
      ...{ input: 0, secondaryInput: 0, output: 0 },
      copy: { ...PLAIN_COPY, src: "/", dest: "/", dirCopyContents: true },
    };
    return cacheMounts.acquire(
      {
        id,
        base,
        sharing: mount.cacheOpt?.sharing ?? "SHARED",
        description: `cached mount ${mount.dest} from ${this.#description} with id "${id}"`,
        seed: async (upper) => {
          if (!base) return;
          const target = { layers: [], upper, work: "" };
          const sources = [{ kind: "layers" as const, layers: await refs.folders(base, signal) }];
          await worker.perform("file", { target, actions: [copy], sources }, signal);
        },
      },
      signal,
    );
  }
}

/** Secrets as variables. @throws BuildError SECRET_MISSING */
export async function secretVariables(
  { session }: OpContext,
  wanted: readonly SecretEnv[],
): Promise<string[]> {
  const env: string[] = [];
  for (const { ID, name, optional } of wanted) {
    const data = await session.secret(ID);
    if (data) env.push(`${name}=${Buffer.from(data).toString()}`);
    else if (!optional) throw new BuildError("SECRET_MISSING", `secret ${ID}: not found`);
  }
  return env;
}

function byCacheId(a: Mount, b: Mount): number {
  const [x, y] = [a.cacheOpt?.ID ?? "", b.cacheOpt?.ID ?? ""];
  return x < y ? -1 : x > y ? 1 : 0;
}
