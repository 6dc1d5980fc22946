// Exec ops: a command in a container.
import { existsSync } from "node:fs";
import { posix } from "node:path";
import { checkDevicesAllowed, deviceEdits, NO_EDITS } from "../executor/index.js";
import { BuildError, codeOf, digestOf, goJson, wrapError, type Digest, type GoValue } from "../lib/index.js";
import {
  enums,
  PLAIN_COPY,
  type DefinitionOp,
  type ExecOp as ExecBody,
  type Mount,
  type Platform,
} from "../llb/index.js";
import type { CacheMount, Ref } from "../snapshot/index.js";
import type { CacheMap, Op } from "../solver/index.js";
import type { RunMount, WritableTree } from "../worker/index.js";
import { contentDigest, pathSelector, selectorDigest } from "./content-key.js";
import type { OpContext, RefResult } from "./context.js";
import { isLocalResult } from "./local-op.js";

/** What a step writes to a mount whose result is kept. */
interface Changes {
  readonly base: Ref | undefined;
  readonly tree: WritableTree;
}

export class ExecOp implements Op<RefResult> {
  readonly #vertex: Digest;
  readonly #exec: ExecBody;
  readonly #inputCount: number;
  readonly #platform: Platform;
  readonly #context: OpContext;

  constructor(op: DefinitionOp, exec: ExecBody, platform: Platform, context: OpContext) {
    this.#vertex = op.digest;
    this.#exec = exec;
    this.#inputCount = op.op.inputs.length;
    this.#platform = platform;
    this.#context = context;
  }

  async cacheMaps(): Promise<readonly CacheMap<RefResult>[]> {
    const { cdiDevices } = this.#exec;
    if (cdiDevices.length > 0)
      checkDevicesAllowed(cdiDevices, await this.#context.devices(), this.#context.entitlements);
    const inputs = Array.from({ length: this.#inputCount }, (_, i) => {
      const mounts = this.#exec.mounts.filter((mount) => mount.input === i);
      const paths = mounts.map((mount) => posix.join("/", mount.selector));
      const changed = mounts.some((mount) => (!mount.readonly || mount.dest === "/") && mount.output !== -1);
      return {
        selector: selectorDigest(paths),
        ...(!changed && {
          contentDigest: contentDigest(
            this.#context,
            paths.map((path) => pathSelector(path, true)),
            isLocalResult,
          ),
        }),
      };
    });
    return [{ digest: digestOf(execKey(this.#exec, this.#platform)), inputs }];
  }

  async run(inputs: readonly RefResult[], signal: AbortSignal): Promise<readonly RefResult[]> {
    const { refs, worker, log, containerId, entitlements } = this.#context;
    const { meta, mounts, network, security, cdiDevices } = this.#exec;
    if (security === "INSECURE" && !entitlements.has("security.insecure")) {
      throw new BuildError("NOT_ALLOWED", "security.insecure is not allowed");
    }
    this.#checkPlatform();
    const edits = cdiDevices.length > 0 ? deviceEdits(cdiDevices, await this.#context.devices()) : NO_EDITS;
    const runtime = { command: this.#context.runtime, cgroups: meta.cgroupParent !== "" };
    // the thread starts while layers are unpacked; a failure shows when the step runs
    worker.perform("probe", { runtime }, signal).catch(() => undefined);
    const root = mounts.find((mount) => mount.dest === "/");
    if (!root) throw new BuildError("LLB_INVALID", "an exec op has to have a root mount");
    const runMounts: RunMount[] = [];
    const held: CacheMount[] = [];
    const changed = new Map<Mount, Changes>();
    const env = [...meta.env, ...(await this.#secretEnv())];
    try {
      const target = await this.#writable(root, inputs, changed, signal);
      // cache folders always in the same order: two steps that lock the same ones never wait for each other
      for (const mount of [...mounts].sort(byCacheId)) {
        if (mount === root) continue;
        const prepared = await this.#mount(mount, inputs, held, changed, signal);
        if (prepared) runMounts.push(prepared);
      }
      const { exitCode } = await worker.perform(
        "run",
        {
          id: containerId(),
          target,
          readonlyRoot: root.readonly,
          args: meta.args,
          env: [...env, ...proxyEnv(meta.proxyEnv)],
          cwd: meta.cwd === "" ? "/" : meta.cwd,
          user: meta.user,
          mounts: runMounts.sort((a, b) => (a.destination < b.destination ? -1 : 1)),
          hostname: meta.hostname,
          extraHosts: meta.extraHosts,
          network: network === "NONE" ? "none" : "host",
          privileged: security === "INSECURE",
          ulimits: meta.ulimit,
          runtime,
          cgroupParent: meta.cgroupParent,
          edits,
        },
        signal,
        (stream, data) => log(this.#vertex, stream, data),
      );
      const isValid =
        meta.validExitCodes.length === 0 ? exitCode === 0 : meta.validExitCodes.includes(exitCode);
      if (!isValid) throw new BuildError("RUN_FAILED", `${notCompleted(meta.args)}: exit code: ${exitCode}`);
      return await this.#results(inputs, changed);
    } catch (error) {
      if (codeOf(error) === "USER_UNKNOWN") throw wrapError(error, "RUN_FAILED", notCompleted(meta.args));
      throw error;
    } finally {
      for (const { tree } of changed.values()) await refs.discard(tree.upper);
      for (const mount of held) mount.release();
    }
  }

  /** Layers to write to on top of what is mounted. */
  async #writable(
    mount: Mount,
    inputs: readonly RefResult[],
    changed: Map<Mount, Changes>,
    signal: AbortSignal,
  ): Promise<WritableTree> {
    const { refs } = this.#context;
    const base = mount.input < 0 ? undefined : inputs[mount.input]!.ref;
    const tree = { layers: await refs.folders(base, signal), ...refs.newFolders() };
    changed.set(mount, { base, tree });
    return tree;
  }

  /** What the step made, by output. */
  async #results(
    inputs: readonly RefResult[],
    changed: ReadonlyMap<Mount, Changes>,
  ): Promise<readonly RefResult[]> {
    const { refs, made } = this.#context;
    const description = `exec ${this.#exec.meta.args.join(" ")}`.slice(0, 200);
    const outputs: RefResult[] = [];
    for (const mount of this.#exec.mounts) {
      // secrets and the like say 0 because they say nothing
      if (mount.output < 0 || mount.mountType !== "BIND") continue;
      const changes = mount.readonly ? undefined : changed.get(mount);
      if (changes) {
        const ref = await refs.commit(changes.tree.upper, changes.base, description);
        made(ref);
        outputs[mount.output] = { ref };
      } else outputs[mount.output] = { ref: mount.input < 0 ? undefined : inputs[mount.input]!.ref };
    }
    return outputs;
  }

  /** @throws BuildError PLATFORM_UNSUPPORTED if nothing can run programs of the step's platform */
  #checkPlatform(): void {
    const { Architecture } = this.#platform;
    const host = hostArchitecture();
    if (Architecture === host || RUNS_ALSO[host] === Architecture) return;
    const emulator = QEMU[Architecture] ?? Architecture;
    if (existsSync(`/proc/sys/fs/binfmt_misc/qemu-${emulator}`)) return;
    throw new BuildError(
      "PLATFORM_UNSUPPORTED",
      `this machine (linux/${host}) cannot run programs of linux/${Architecture}: no emulator is registered for them; ` +
        "install qemu-user-static and binfmt-support, or run the step on the build platform (FROM --platform=$BUILDPLATFORM)",
    );
  }

  async #mount(
    mount: Mount,
    inputs: readonly RefResult[],
    held: CacheMount[],
    changed: Map<Mount, Changes>,
    signal: AbortSignal,
  ): Promise<RunMount | undefined> {
    const { refs, session } = this.#context;
    const destination = posix.normalize(mount.dest).replace(/(.)\/$/, "$1");
    const { readonly } = mount;
    const layers = mount.input < 0 ? [] : await refs.folders(inputs[mount.input]!.ref, signal);
    switch (mount.mountType) {
      case "BIND":
        if (!readonly && mount.output >= 0) {
          const tree = await this.#writable(mount, inputs, changed, signal);
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
        const acquired = await this.#acquireCache(mount, inputs[mount.input]?.ref, signal);
        held.push(acquired);
        return {
          destination,
          readonly,
          source: { kind: "cache", folder: acquired.folder, selector: mount.selector },
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
        description: `cached mount ${mount.dest} from exec ${this.#exec.meta.args.join(" ")} with id "${id}"`,
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

  async #secretEnv(): Promise<string[]> {
    const env: string[] = [];
    for (const { ID, name, optional } of this.#exec.secretEnv) {
      const data = await this.#context.session.secret(ID);
      if (data) env.push(`${name}=${Buffer.from(data).toString()}`);
      else if (!optional) throw new BuildError("SECRET_MISSING", `secret ${ID}: not found`);
    }
    return env;
  }
}

function byCacheId(a: Mount, b: Mount): number {
  const [x, y] = [a.cacheOpt?.ID ?? "", b.cacheOpt?.ID ?? ""];
  return x < y ? -1 : x > y ? 1 : 0;
}

/** What processors run besides their own programs. */
const RUNS_ALSO: Readonly<Record<string, string>> = { amd64: "386", arm64: "arm" };

/** Names of QEMU's emulators where they are not those of Go. */
const QEMU: Readonly<Record<string, string>> = {
  amd64: "x86_64",
  arm64: "aarch64",
  "386": "i386",
  mips64le: "mips64el",
  loong64: "loongarch64",
};

function hostArchitecture(): string {
  const names: Readonly<Record<string, string>> = { x64: "amd64", ia32: "386", ppc64: "ppc64le" };
  return names[process.arch] ?? process.arch;
}

function proxyEnv(proxy: ExecBody["meta"]["proxyEnv"]): string[] {
  if (!proxy) return [];
  const names = [
    ["HTTP_PROXY", proxy.httpProxy],
    ["HTTPS_PROXY", proxy.httpsProxy],
    ["FTP_PROXY", proxy.ftpProxy],
    ["NO_PROXY", proxy.noProxy],
    ["ALL_PROXY", proxy.allProxy],
  ] as const;
  return names.flatMap(([name, value]) =>
    value === "" ? [] : [`${name}=${value}`, `${name.toLowerCase()}=${value}`],
  );
}

function notCompleted(args: readonly string[]): string {
  return `process ${JSON.stringify(args.join(" "))} did not complete successfully`;
}

/** The text behind an exec op's key. What does not change the result is left out: see docs/dev/cache.md. */
export function execKey(exec: ExecBody, platform: Platform): string {
  const { meta } = exec;
  const onlyRoot = exec.mounts.length === 1 && isDefaultRoot(exec.mounts[0]!);
  return goJson({
    Type: "buildkit.exec.v0",
    Exec: {
      meta: {
        args: meta.args,
        env: nonEmpty(meta.env),
        cwd: meta.cwd || undefined,
        user: meta.user || undefined,
        extraHosts: nonEmpty(meta.extraHosts.map(({ Host }) => ({ Host: Host || undefined }))),
        hostname: meta.hostname || undefined,
        ulimit: nonEmpty(
          meta.ulimit.map(({ Name, Soft, Hard }) => ({
            Name,
            Soft: Soft || undefined,
            Hard: Hard || undefined,
          })),
        ),
        cgroupParent: meta.cgroupParent || undefined,
        removeMountStubsRecursive: meta.removeMountStubsRecursive || undefined,
        validExitCodes: nonEmpty(meta.validExitCodes),
      },
      mounts: onlyRoot ? undefined : exec.mounts.map(mountKey),
      network: enums.NET_MODES.indexOf(exec.network) || undefined,
      security: enums.SECURITY_MODES.indexOf(exec.security) || undefined,
      secretenv: nonEmpty(
        exec.secretEnv.map(({ ID, name, optional }) => ({ ID, name, optional: optional || undefined })),
      ),
      cdiDevices: nonEmpty(
        exec.cdiDevices.map(({ name, optional }) => ({ name, optional: optional || undefined })),
      ),
    },
    OS: platform.OS,
    Arch: platform.Architecture,
    Variant: platform.Variant || undefined,
  });
}

function isDefaultRoot(mount: Mount): boolean {
  return (
    mount.dest === "/" &&
    mount.input === 0 &&
    mount.output === 0 &&
    !mount.readonly &&
    mount.mountType === "BIND"
  );
}

function mountKey(mount: Mount): GoValue {
  const credential = (opt: Mount["secretOpt"]): GoValue =>
    opt && {
      ID: opt.ID || undefined,
      uid: opt.uid || undefined,
      gid: opt.gid || undefined,
      mode: opt.mode || undefined,
      optional: opt.optional || undefined,
    };
  const { cacheOpt } = mount;
  const ownId = cacheOpt && cacheOpt.sharing === "SHARED" && cacheOpt.ID.endsWith(`/${mount.dest}`);
  return {
    input: mount.input || undefined,
    dest: mount.dest,
    output: mount.output || undefined,
    readonly: mount.readonly || undefined,
    mountType: enums.MOUNT_TYPES.indexOf(mount.mountType) || undefined,
    TmpfsOpt: mount.TmpfsOpt && { size: mount.TmpfsOpt.size || undefined },
    cacheOpt: cacheOpt && (ownId ? { ID: cacheOpt.ID } : {}),
    secretOpt: credential(mount.secretOpt),
    SSHOpt: credential(mount.SSHOpt),
  };
}

function nonEmpty<T>(list: readonly T[]): readonly T[] | undefined {
  return list.length > 0 ? list : undefined;
}
