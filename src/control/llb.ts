// Graphs as they come over the wire to the project's own vocabulary, and back. Ops keep the bytes they came as: their
// digests are of those.
import { create, fromBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { digestOf, isDigest, messageOf, type Digest } from "../lib/index.js";
import {
  encodeDefinition,
  enums,
  type Definition,
  type DefinitionOp,
  type FileActionBody,
  type Location,
  type Mount,
  type Op,
  type OpBody,
  type OpMetadata,
  type Platform,
  type Range,
  type Source,
  type SourceInfo,
} from "../llb/index.js";
import * as pb from "./gen/buildkit/ops_pb.js";

/** @throws ConnectError for what is no graph; `undefined` if it is empty: scratch */
export function definitionOf(message: pb.Definition | undefined): Definition | undefined {
  if (!message || message.def.length === 0) return undefined;
  const known = new Set<Digest>();
  const ops = message.def.map((bytes): DefinitionOp => {
    const digest = digestOf(bytes);
    const op = opOf(fromBinary(pb.OpSchema, bytes));
    for (const input of op.inputs)
      if (!known.has(input.digest)) throw invalid(`input ${input.digest} of ${digest} is not before it`);
    known.add(digest);
    return { digest, op, bytes, metadata: metadataOf(message.metadata[digest]) };
  });
  if (ops.at(-1)!.op.kind !== "return") throw invalid("the last op has to return something");
  return { ops, ...(message.Source && { source: sourceOf(message.Source) }) };
}

/** @param bytes the message pb.Definition @throws ConnectError */
export function decodeDefinition(bytes: Uint8Array): Definition | undefined {
  let message: pb.Definition;
  try {
    message = fromBinary(pb.DefinitionSchema, bytes);
  } catch (cause) {
    throw invalid(messageOf(cause));
  }
  return definitionOf(message);
}

export function definitionMessage(definition: Definition): pb.Definition {
  return fromBinary(pb.DefinitionSchema, encodeDefinition(definition));
}

function invalid(problem: string): ConnectError {
  return new ConnectError(`invalid definition: ${problem}`, Code.InvalidArgument);
}

function opOf(op: pb.Op): Op {
  return {
    ...bodyOf(op),
    inputs: op.inputs.map(({ digest, index }) => {
      if (!isDigest(digest)) throw invalid(`input "${digest}" is not a digest`);
      return { digest, index: Number(index) };
    }),
    ...(op.platform && { platform: platformOf(op.platform) }),
    ...(op.constraints && { constraints: { filter: op.constraints.filter } }),
  };
}

export function platformOf({ Architecture, OS, Variant, OSVersion, OSFeatures }: pb.Platform): Platform {
  return {
    Architecture,
    OS,
    ...(Variant !== "" && { Variant }),
    ...(OSVersion !== "" && { OSVersion }),
    ...(OSFeatures.length > 0 && { OSFeatures }),
  };
}

function bodyOf({ op }: pb.Op): OpBody {
  switch (op.case) {
    case "source":
      return { kind: "source", source: { identifier: op.value.identifier, attrs: op.value.attrs } };
    case "exec":
      return { kind: "exec", exec: execOf(op.value) };
    case "file":
      return {
        kind: "file",
        file: {
          actions: op.value.actions.map((action) => ({
            ...actionOf(action),
            input: Number(action.input),
            secondaryInput: Number(action.secondaryInput),
            output: Number(action.output),
          })),
        },
      };
    case "merge":
      return { kind: "merge", merge: { inputs: op.value.inputs.map(({ input }) => Number(input)) } };
    case "diff":
      return {
        kind: "diff",
        diff: { lower: Number(op.value.lower?.input ?? -1), upper: Number(op.value.upper?.input ?? -1) },
      };
    case "build": {
      const { builder, inputs, attrs } = op.value;
      const indexes = Object.entries(inputs).map(([name, { input }]) => [name, Number(input)] as const);
      return {
        kind: "build",
        build: { builder: Number(builder), inputs: Object.fromEntries(indexes), attrs },
      };
    }
    case undefined:
      return { kind: "return" };
  }
}

function execOf(exec: pb.ExecOp): Extract<OpBody, { kind: "exec" }>["exec"] {
  const { meta = create(pb.MetaSchema) } = exec;
  const proxy = meta.proxyEnv;
  return {
    meta: {
      args: meta.args,
      env: meta.env,
      cwd: meta.cwd,
      user: meta.user,
      ...(proxy && {
        proxyEnv: {
          httpProxy: proxy.httpProxy,
          httpsProxy: proxy.httpsProxy,
          ftpProxy: proxy.ftpProxy,
          noProxy: proxy.noProxy,
          allProxy: proxy.allProxy,
        },
      }),
      extraHosts: meta.extraHosts.map(({ Host, IP }) => ({ Host, IP })),
      hostname: meta.hostname,
      ulimit: meta.ulimit.map(({ Name, Soft, Hard }) => ({ Name, Soft: Number(Soft), Hard: Number(Hard) })),
      cgroupParent: meta.cgroupParent,
      removeMountStubsRecursive: meta.removeMountStubsRecursive,
      validExitCodes: meta.validExitCodes,
    },
    mounts: exec.mounts.map(mountOf),
    network: word(enums.NET_MODES, exec.network) as "UNSET",
    security: word(enums.SECURITY_MODES, exec.security) as "SANDBOX",
    secretEnv: exec.secretenv.map(({ ID, name, optional }) => ({ ID, name, optional })),
    cdiDevices: exec.cdiDevices.map(({ name, optional }) => ({ name, optional })),
  };
}

function word(words: readonly string[], index: number): string {
  const found = words[index];
  if (found === undefined) throw invalid(`${index} is none of ${words.join(", ")}`);
  return found;
}

export function mountOf(mount: pb.Mount): Mount {
  const { TmpfsOpt, cacheOpt, secretOpt, SSHOpt } = mount;
  const credential = ({ ID, uid, gid, mode, optional }: pb.SecretOpt | pb.SSHOpt) => ({
    ID,
    uid,
    gid,
    mode,
    optional,
  });
  return {
    input: Number(mount.input),
    selector: mount.selector,
    dest: mount.dest,
    output: Number(mount.output),
    readonly: mount.readonly,
    mountType: word(enums.MOUNT_TYPES, mount.mountType) as "BIND",
    ...(TmpfsOpt && { TmpfsOpt: { size: Number(TmpfsOpt.size) } }),
    ...(cacheOpt && {
      cacheOpt: { ID: cacheOpt.ID, sharing: word(enums.CACHE_SHARING, cacheOpt.sharing) as "SHARED" },
    }),
    ...(secretOpt && { secretOpt: credential(secretOpt) }),
    ...(SSHOpt && { SSHOpt: credential(SSHOpt) }),
    resultID: mount.resultID,
    contentCache: word(enums.CONTENT_CACHE, mount.contentCache) as "DEFAULT",
  };
}

function actionOf({ action }: pb.FileAction): FileActionBody {
  switch (action.case) {
    case "copy": {
      const { owner, $typeName: _, ...rest } = action.value;
      return {
        kind: "copy",
        copy: {
          ...rest,
          ...ownerOf(owner),
        },
      };
    }
    case "mkfile": {
      const { path, mode, data, timestamp, owner } = action.value;
      return { kind: "mkfile", mkfile: { path, mode, data, timestamp, ...ownerOf(owner) } };
    }
    case "mkdir": {
      const { path, mode, makeParents, timestamp, owner } = action.value;
      return { kind: "mkdir", mkdir: { path, mode, makeParents, timestamp, ...ownerOf(owner) } };
    }
    case "rm": {
      const { path, allowNotFound, allowWildcard } = action.value;
      return { kind: "rm", rm: { path, allowNotFound, allowWildcard } };
    }
    case "symlink": {
      const { oldpath, newpath, timestamp, owner } = action.value;
      return { kind: "symlink", symlink: { oldpath, newpath, timestamp, ...ownerOf(owner) } };
    }
    case undefined:
      throw invalid("a file action does nothing");
  }
}

type Owner = Extract<FileActionBody, { kind: "mkdir" }>["mkdir"]["owner"];

function ownerOf(owner: pb.ChownOpt | undefined): { owner?: NonNullable<Owner> } {
  if (!owner) return {};
  const user = userOf(owner.user);
  const group = userOf(owner.group);
  return { owner: { ...(user && { user }), ...(group && { group }) } };
}

function userOf(user: pb.UserOpt | undefined) {
  switch (user?.user.case) {
    case "byName": {
      const { name, input } = user.user.value;
      return { kind: "byName", name, input: Number(input) } as const;
    }
    case "byID":
      return { kind: "byID", id: user.user.value } as const;
    default:
      return undefined;
  }
}

function metadataOf(metadata: pb.OpMetadata | undefined): OpMetadata {
  if (!metadata) return { ignoreCache: false, description: {}, caps: [] };
  const { ignoreCache, description, caps, progressGroup: group } = metadata;
  return {
    ignoreCache,
    description,
    caps: Object.keys(caps).filter((cap) => caps[cap]),
    ...(group && { progressGroup: { id: group.id, name: group.name, weak: group.weak } }),
  };
}

function sourceOf({ locations, infos }: pb.Source): Source {
  const entries = Object.entries(locations).map(([digest, list]): [Digest, Location[]] => [
    digest as Digest,
    list.locations.map(({ sourceIndex, ranges }) => ({ sourceIndex, ranges: ranges.map(rangeOf) })),
  ]);
  return { locations: new Map(entries), infos: infos.map(sourceInfoOf) };
}

export function rangeOf({ start, end }: pb.Range): Range {
  const position = (at: pb.Position | undefined) => ({ line: at?.line ?? 0, character: at?.character ?? 0 });
  return { start: position(start), end: position(end) };
}

export function sourceInfoOf({ filename, data, language, definition }: pb.SourceInfo): SourceInfo {
  const decoded = definitionOf(definition);
  return { filename, data, language, ...(decoded && { definition: decoded }) };
}

export function sourceInfoMessage({ filename, data, language, definition }: SourceInfo): pb.SourceInfo {
  return create(pb.SourceInfoSchema, {
    filename,
    data,
    language,
    ...(definition && { definition: definitionMessage(definition) }),
  });
}
