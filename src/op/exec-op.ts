// Exec ops: a command in a container.
import { existsSync } from "node:fs";
import { posix } from "node:path";
import { checkDevicesAllowed, deviceEdits, NO_EDITS } from "../executor/index.js";
import { BuildError, codeOf, digestOf, goJson, wrapError, type Digest, type GoValue } from "../lib/index.js";
import {
  enums,
  type DefinitionOp,
  type ExecOp as ExecBody,
  type Mount,
  type Platform,
} from "../llb/index.js";
import type { CacheMap, Op } from "../solver/index.js";
import { contentDigest, pathSelector, selectorDigest } from "./content-key.js";
import type { OpContext, RefResult } from "./context.js";
import { ExecMounts, secretVariables } from "./exec-mounts.js";
import { isLocalResult } from "./local-op.js";

/** A command that ended with another code than it may. */
export class ExitError extends BuildError {
  readonly exitCode: number;

  constructor(message: string, exitCode: number) {
    super("RUN_FAILED", message);
    this.exitCode = exitCode;
  }
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
      const mounts = this.#exec.mounts.filter(
        ({ input, mountType }) => input === i && (mountType === "BIND" || mountType === "CACHE"),
      );
      if (mounts.length === 0) return {};
      const paths = mounts.map(mountedPath);
      const isByContent = mounts.map(isKnownByContent).at(-1)!;
      const selectors = paths.includes("/") ? ["/"] : paths;
      return {
        selector: selectorDigest(paths),
        ...(isByContent && {
          contentDigest: contentDigest(
            this.#context,
            i,
            selectors.map((path) => pathSelector(path, true)),
            isLocalResult,
          ),
        }),
      };
    });
    return [{ digest: digestOf(execKey(this.#exec, this.#platform)), inputs }];
  }

  async run(inputs: readonly RefResult[], signal: AbortSignal): Promise<readonly RefResult[]> {
    const { worker, log, containerId, entitlements } = this.#context;
    const { meta, mounts, network, security, cdiDevices } = this.#exec;
    if (security === "INSECURE" && !entitlements.has("security.insecure")) {
      throw new BuildError("NOT_ALLOWED", "security.insecure is not allowed");
    }
    const edits = cdiDevices.length > 0 ? deviceEdits(cdiDevices, await this.#context.devices()) : NO_EDITS;
    const runtime = { command: this.#context.runtime, cgroups: meta.cgroupParent !== "" };
    // the thread starts while layers are unpacked; a failure shows when the step runs
    worker.perform("probe", { runtime }, signal).catch(() => undefined);
    const prepared = new ExecMounts(this.#context, mounts, meta.cwd, `exec ${meta.args.join(" ")}`);
    let isForeign = false;
    const env = [...meta.env, ...(await secretVariables(this.#context, this.#exec.secretEnv))];
    try {
      const { target, readonlyRoot, others } = await prepared.prepare(
        inputs.map(({ ref }) => ref),
        signal,
      );
      const { exitCode } = await worker.perform(
        "run",
        {
          id: containerId(),
          target,
          readonlyRoot,
          args: meta.args,
          env: [...env, ...proxyEnv(meta.proxyEnv)],
          cwd: meta.cwd === "" ? "/" : meta.cwd,
          user: meta.user,
          mounts: others,
          hostname: meta.hostname,
          extraHosts: meta.extraHosts,
          network: network === "NONE" ? "none" : "host",
          privileged: security === "INSECURE",
          ulimits: meta.ulimit,
          runtime,
          dns: this.#context.dns,
          cgroupParent: meta.cgroupParent,
          edits,
        },
        signal,
        {
          onOutput: (stream, data) => {
            isForeign ||= FORMAT_ERROR.test(Buffer.from(data).toString("latin1"));
            log(this.#vertex, stream, data);
          },
        },
      );
      const isValid =
        meta.validExitCodes.length === 0 ? exitCode === 0 : meta.validExitCodes.includes(exitCode);
      if (!isValid) {
        const hint = isForeign ? this.#platformHint() : "";
        throw new ExitError(`${notCompleted(meta.args)}: exit code: ${exitCode}${hint}`, exitCode);
      }
      return await prepared.results();
    } catch (error) {
      const isKnown = codeOf(error) !== "USER_UNKNOWN";
      const failure = isKnown ? error : wrapError(error, "RUN_FAILED", notCompleted(meta.args));
      if (!signal.aborted) await prepared.leave(failure);
      throw failure;
    } finally {
      await prepared.release();
    }
  }

  /** Why a program could not be run, if it is of another platform than this machine. */
  #platformHint(): string {
    const { Architecture } = this.#platform;
    const host = hostArchitecture();
    if (Architecture === host || RUNS_ALSO[host] === Architecture) return "";
    const emulator = QEMU[Architecture] ?? Architecture;
    if (existsSync(`/proc/sys/fs/binfmt_misc/qemu-${emulator}`)) return "";
    return (
      `: this machine (linux/${host}) cannot run programs of linux/${Architecture}: no emulator is registered for them; ` +
      "install qemu-user-static and binfmt-support, or run the step on the build platform (FROM --platform=$BUILDPLATFORM)"
    );
  }
}

/** What runtimes and shells say of programs of another machine. */
const FORMAT_ERROR = /exec format error/i;

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

function mountedPath({ selector }: Mount): string {
  return posix.join("/", selector);
}

/**
 * Whether what is mounted counts by its content. Where a result is kept of a part of it, the rest would be in that result
 * unseen. @throws BuildError LLB_INVALID if the content is asked for nevertheless
 */
function isKnownByContent(mount: Mount): boolean {
  const isSafe = mount.output < 0 || mount.readonly || mountedPath(mount) === "/";
  switch (mount.contentCache) {
    case "OFF":
      return false;
    case "ON":
      if (!isSafe) throw new BuildError("LLB_INVALID", `invalid mount cache content of ${mount.dest}`);
      return true;
    case "DEFAULT":
      return isSafe && mount.dest !== "/";
  }
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
    !mount.readonly &&
    mount.mountType === "BIND" &&
    !mount.cacheOpt &&
    !mount.SSHOpt &&
    !mount.secretOpt &&
    mount.resultID === ""
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
  // an id that says no more than the place does, as the Dockerfile frontend makes them ("namespace/place")
  const id = cacheOpt?.ID ?? "";
  const isOwnId =
    cacheOpt?.sharing === "SHARED" && (id === mount.dest || id.slice(id.indexOf("/") + 1) === mount.dest);
  return {
    input: mount.input || undefined,
    dest: mount.dest,
    output: mount.output || undefined,
    readonly: mount.readonly || undefined,
    mountType: enums.MOUNT_TYPES.indexOf(mount.mountType) || undefined,
    TmpfsOpt: mount.TmpfsOpt && { size: mount.TmpfsOpt.size || undefined },
    cacheOpt: cacheOpt && (isOwnId ? { ID: id || undefined } : {}),
    secretOpt: credential(mount.secretOpt),
    SSHOpt: credential(mount.SSHOpt),
    resultID: mount.resultID || undefined,
    contentCache: enums.CONTENT_CACHE.indexOf(mount.contentCache) || undefined,
  };
}

function nonEmpty<T>(list: readonly T[]): readonly T[] | undefined {
  return list.length > 0 ? list : undefined;
}
