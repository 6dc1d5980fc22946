// The service LLBBridge of BuildKit: what a client's frontend asks while it makes a build's graph.
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import { Code, ConnectError } from "@connectrpc/connect";
import { hostPlatform } from "../frontend/index.js";
import { compilePathPattern } from "../lib/index.js";
import type { TreeEntry } from "../worker/index.js";
import type { Builds } from "./builds.js";
import { FRONTEND_CAPS, LLB_CAPS } from "./caps.js";
import type { DaemonBuild } from "./daemon-build.js";
import { badRequest, returnedError, statusError } from "./errors.js";
import type { FrontendReturn } from "./frontend-return.js";
import type { Definition } from "./gen/buildkit/ops_pb.js";
import { cacheImports } from "./frontend-attrs.js";
import type { LLBBridge, ResolveSourceMetaRequest } from "./gen/buildkit/gateway_pb.js";
import type { StatSchema } from "./gen/fsutil/stat_pb.js";
import { goMode } from "./session/wire.js";
import { enums, type SourceOp } from "../llb/index.js";
import { mountOf, platformOf, rangeOf, sourceInfoOf } from "./llb.js";
import type { DaemonOptions } from "./types.js";
import { execProcesses } from "./processes.js";
import { workerRecord } from "./worker-record.js";

/** Whom a frontend works for. */
export interface FrontendClient {
  readonly build: DaemonBuild;
  readonly returned: FrontendReturn;
  /** graphs that it is given */
  readonly inputs: Readonly<Record<string, Definition>>;
}

/** Where an image is looked for, instead of in registries (BuildKit's ResolverType). */
const OCI_LAYOUT = 1;

/** @param find whom a request is for @throws what `find` throws */
export function gatewayService(
  find: (context: HandlerContext) => Promise<FrontendClient>,
  options: DaemonOptions,
): Partial<ServiceImpl<typeof LLBBridge>> {
  const asked = async <T>(
    context: HandlerContext,
    task: (build: DaemonBuild, client: FrontendClient) => Promise<T>,
  ): Promise<T> => {
    let build: DaemonBuild | undefined;
    try {
      const client = await find(context);
      build = client.build;
      return await task(build, client);
    } catch (error) {
      const located = build?.located(error);
      const solve = build?.inspectable(error);
      throw statusError(located?.error ?? error, { ...located, solve });
    }
  };
  return {
    ping: (_request, context) =>
      asked(context, async () => ({
        FrontendAPICaps: [...FRONTEND_CAPS],
        LLBCaps: [...LLB_CAPS],
        Workers: [workerRecord(options)],
      })),
    solve: (request, context) =>
      asked(context, async (build) => {
        const { Definition, Frontend, FrontendOpt, FrontendInputs, CacheImports, Evaluate } = request;
        const { SourcePolicies } = request;
        const result = await build.solve({
          definition: Definition,
          frontend: Frontend,
          attrs: FrontendOpt,
          inputs: FrontendInputs,
          imports: cacheImports(FrontendOpt, options.environment, CacheImports),
          evaluate: Evaluate,
          policies: SourcePolicies,
        });
        return { result };
      }),
    resolveImageConfig: (request, context) =>
      asked(context, async (build) => {
        const { Ref, ResolverType, StoreID } = request;
        const scheme = ResolverType === OCI_LAYOUT ? "oci-layout" : "docker-image";
        const wanted = { identifier: `${scheme}://${Ref}`, attrs: { "oci.store": StoreID } };
        const logName = request.LogName || `resolve image config for ${Ref}`;
        const { image } = await resolveSource(build, wanted, { ...request, LogName: logName });
        if (!image) throw badRequest(`${Ref} is not an image`);
        return { Digest: image.digest, Config: image.config, Ref: image.reference };
      }),
    resolveSourceMeta: (request, context) =>
      asked(context, async (build) => {
        if (!request.Source) throw badRequest("no source was given");
        const { source, image } = await resolveSource(build, request.Source, request);
        return { Source: source, ...(image && { Image: { Digest: image.digest, Config: image.config } }) };
      }),
    readFile: ({ Ref, FilePath, Range }, context) =>
      asked(context, async (build) => {
        const ref = build.ref(Ref);
        const [offset, length] = [Number(Range?.Offset ?? 0n), Number(Range?.Length ?? 0n)];
        const limit = length > 0 ? offset + length : Infinity;
        const data = ref && (await build.job.read(ref, [FilePath], limit)).get(FilePath);
        if (!data) throw missing("open", FilePath);
        return { Data: data.subarray(offset, length > 0 ? offset + length : undefined) };
      }),
    readDir: ({ Ref, DirPath, IncludePattern }, context) =>
      asked(context, async (build) => {
        const ref = build.ref(Ref);
        if (!ref) throw missing("open", DirPath);
        const pattern = IncludePattern === "" ? undefined : compilePathPattern(IncludePattern);
        const entries = await build.job.list(ref, DirPath, "folder");
        return { entries: entries.filter(({ name }) => !pattern || pattern.test(name)).map(statMessage) };
      }),
    statFile: ({ Ref, Path }, context) =>
      asked(context, async (build) => {
        const ref = build.ref(Ref);
        if (!ref) throw missing("lstat", Path);
        const [entry] = await build.job.list(ref, Path, "entry");
        return { stat: statMessage(entry!) };
      }),
    evaluate: ({ Ref }, context) =>
      asked(context, async (build) => {
        await build.evaluate(Ref);
        return {};
      }),
    inputs: (_request, context) =>
      asked(context, async (_build, { inputs }) => ({ Definitions: { ...inputs } })),
    return: ({ result, error }, context) =>
      asked(context, async (_build, { returned }) => {
        if (error) returned.fail(returnedError(error));
        else if (result) returned.return(result);
        else returned.fail(new ConnectError("frontend returned nothing", Code.Unknown));
        return {};
      }),
    newContainer: (request, context) =>
      asked(context, async (build) => {
        const { ContainerID, Mounts, Network, platform, extraHosts, hostname } = request;
        const mounts = Mounts.map((mount, i) => ({
          ...mountOf(mount),
          input: mount.resultID === "" ? -1 : i,
          output: -1,
        }));
        const hosts = extraHosts.map(({ Host, IP }) => ({ Host, IP }));
        const network =
          enums.NET_MODES[Network] === "HOST"
            ? "HOST"
            : enums.NET_MODES[Network] === "NONE"
              ? "NONE"
              : "UNSET";
        const results = Mounts.map(({ resultID }) => resultID);
        const os = platform?.OS || "linux";
        build.newContainer(ContainerID, { mounts, network, os, hostname, extraHosts: hosts }, results);
        return {};
      }),
    releaseContainer: ({ ContainerID }, context) =>
      asked(context, async (build) => {
        await build.releaseContainer(ContainerID);
        return {};
      }),
    async *execProcess(messages, context) {
      const { build } = await find(context);
      yield* execProcesses(messages, (id) => build.container(id));
    },
    warn: ({ digest, level, short, detail, url, info, ranges }, context) =>
      asked(context, async (build) => {
        build.job.progress.emit({
          kind: "warning",
          vertex: digest,
          text: Buffer.from(short).toString(),
          level: Number(level),
          about: {
            detail: detail.map((line) => Buffer.from(line).toString()),
            url,
            source: info ? sourceInfoOf(info) : { filename: "", data: new Uint8Array(), language: "" },
            ranges: ranges.map(rangeOf),
          },
        });
        return {};
      }),
  };
}

function missing(action: string, path: string): ConnectError {
  return new ConnectError(`${action} ${path}: no such file or directory`, Code.NotFound);
}

function statMessage(entry: TreeEntry): MessageInitShape<typeof StatSchema> {
  const { name, mode, uid, gid, size, modTime, linkname, device, xattrs } = entry;
  return {
    path: name,
    mode: goMode(mode),
    uid,
    gid,
    size: BigInt(size),
    modTime,
    linkname,
    devmajor: BigInt(device.major),
    devminor: BigInt(device.minor),
    xattrs: Object.fromEntries(xattrs),
  };
}

/** Who asks says for which build. */
const BUILD_ID = "buildkit-controlapi-buildid";

/** Clients that run their frontend themselves. @throws ConnectError for a build that is not known */
export function clientOf(builds: Builds): (context: HandlerContext) => Promise<FrontendClient> {
  return async ({ requestHeader }) => {
    const id = requestHeader.get(BUILD_ID);
    if (!id) throw new ConnectError("no buildid found in context", Code.Unknown);
    const build = await (await builds.get(id)).build;
    return { build, returned: build.returned, inputs: {} };
  };
}

type ResolveRequest = Pick<
  ResolveSourceMetaRequest,
  "Platform" | "LogName" | "ResolveMode" | "SourcePolicies"
>;

/** A source as the policies have it, and what it is if it is an image. */
async function resolveSource(build: DaemonBuild, wanted: SourceOp, request: ResolveRequest) {
  const { Platform, LogName, ResolveMode, SourcePolicies } = request;
  const source = build.allowedSource(wanted, SourcePolicies);
  const [, scheme, reference] = /^(docker-image|oci-layout):\/\/(.*)$/s.exec(source.identifier) ?? [];
  if (reference === undefined) return { source };
  const image = await build.frontendHost().resolveImage(reference, {
    platform: Platform ? platformOf(Platform) : hostPlatform(),
    resolveMode: ResolveMode === "pull" ? "pull" : "default",
    layout: scheme === "oci-layout" ? (source.attrs["oci.store"] ?? "") : undefined,
    logName: LogName || `resolve image config for ${wanted.identifier}`,
  });
  return { source, image };
}
