// Ops and definitions as BuildKit's protobuf bytes. The digest of an op is the sha256 of these bytes and part of every
// build's graph, so they have to be Go's to the last byte. Field numbers: solver/pb/ops.proto of BuildKit; checked
// against every recording in test/golden.
import { Writer } from "./wire.js";
import type {
  ChownOpt,
  CredentialOpt,
  Definition,
  ExecMeta,
  ExecOp,
  FileAction,
  FileActionCopy,
  Location,
  Mount,
  Op,
  OpMetadata,
  Platform,
  Position,
  Source,
  SourceInfo,
  UserOpt,
} from "./types.js";

const NET_MODES = ["UNSET", "HOST", "NONE"];
const SECURITY_MODES = ["SANDBOX", "INSECURE"];
const MOUNT_TYPES = ["BIND", "SECRET", "SSH", "CACHE", "TMPFS"];
const CACHE_SHARING = ["SHARED", "PRIVATE", "LOCKED"];
const CONTENT_CACHE = ["DEFAULT", "ON", "OFF"];

export const enums = { NET_MODES, SECURITY_MODES, MOUNT_TYPES, CACHE_SHARING, CONTENT_CACHE };

export function encodeOp(op: Op): Buffer {
  const writer = new Writer().messages(1, op.inputs, (input) =>
    new Writer().string(1, input.digest).int(2, input.index),
  );
  writer.message(10, op.platform && platform(op.platform));
  writer.message(11, op.constraints && new Writer().strings(1, op.constraints.filter));
  switch (op.kind) {
    case "exec":
      return writer.message(2, exec(op.exec)).finish();
    case "source":
      return writer
        .message(
          3,
          new Writer()
            .string(1, op.source.identifier)
            .map(2, Object.entries(op.source.attrs), (w, value) => w.mapString(value)),
        )
        .finish();
    case "file":
      return writer.message(4, new Writer().messages(2, op.file.actions, fileAction)).finish();
    case "merge":
      return writer
        .message(
          6,
          new Writer().messages(1, op.merge.inputs, (input) => new Writer().int(1, input)),
        )
        .finish();
    case "diff":
      return writer
        .message(
          7,
          new Writer()
            .message(1, new Writer().int(1, op.diff.lower))
            .message(2, new Writer().int(1, op.diff.upper)),
        )
        .finish();
    case "build": {
      const { builder, inputs, attrs } = op.build;
      const body = new Writer()
        .int(1, builder)
        .map(2, Object.entries(inputs), (w, input) => w.message(2, new Writer().int(1, input)))
        .map(4, Object.entries(attrs), (w, value) => w.mapString(value));
      return writer.message(5, body).finish();
    }
    case "return":
      return writer.finish();
  }
}

/** The message pb.Definition. */
export function encodeDefinition(definition: Definition): Buffer {
  return definitionMessage(definition).finish();
}

function definitionMessage(definition: Definition): Writer {
  const metadata = new Map(definition.ops.map((entry) => [entry.digest, entry.metadata]));
  const writer = new Writer();
  for (const entry of definition.ops) writer.bytes(1, entry.bytes);
  writer.map(2, metadata, (w, value) => w.mapMessage(opMetadata(value)));
  return writer.message(3, definition.source && source(definition.source));
}

function platform(value: Platform): Writer {
  return new Writer()
    .string(1, value.Architecture)
    .string(2, value.OS)
    .string(3, value.Variant ?? "")
    .string(4, value.OSVersion ?? "")
    .strings(5, value.OSFeatures ?? []);
}

function exec(value: ExecOp): Writer {
  return new Writer()
    .message(1, execMeta(value.meta))
    .messages(2, value.mounts, mount)
    .int(3, NET_MODES.indexOf(value.network))
    .int(4, SECURITY_MODES.indexOf(value.security))
    .messages(5, value.secretEnv, (env) =>
      new Writer().string(1, env.ID).string(2, env.name).int(3, env.optional),
    )
    .messages(6, value.cdiDevices, (device) => new Writer().string(1, device.name).int(2, device.optional));
}

function execMeta(value: ExecMeta): Writer {
  const proxy = value.proxyEnv;
  return new Writer()
    .strings(1, value.args)
    .strings(2, value.env)
    .string(3, value.cwd)
    .string(4, value.user)
    .message(
      5,
      proxy &&
        new Writer()
          .string(1, proxy.httpProxy)
          .string(2, proxy.httpsProxy)
          .string(3, proxy.ftpProxy)
          .string(4, proxy.noProxy)
          .string(5, proxy.allProxy),
    )
    .messages(6, value.extraHosts, (host) => new Writer().string(1, host.Host).string(2, host.IP))
    .string(7, value.hostname)
    .messages(9, value.ulimit, (u) => new Writer().string(1, u.Name).int(2, u.Soft).int(3, u.Hard))
    .string(10, value.cgroupParent)
    .int(11, value.removeMountStubsRecursive);
}

function mount(value: Mount): Writer {
  return new Writer()
    .int(1, value.input)
    .string(2, value.selector)
    .string(3, value.dest)
    .int(4, value.output)
    .int(5, value.readonly)
    .int(6, MOUNT_TYPES.indexOf(value.mountType))
    .message(19, value.TmpfsOpt && new Writer().int(1, value.TmpfsOpt.size))
    .message(
      20,
      value.cacheOpt &&
        new Writer().string(1, value.cacheOpt.ID).int(2, CACHE_SHARING.indexOf(value.cacheOpt.sharing)),
    )
    .message(21, value.secretOpt && credential(value.secretOpt))
    .message(22, value.SSHOpt && credential(value.SSHOpt))
    .string(23, value.resultID)
    .int(24, CONTENT_CACHE.indexOf(value.contentCache));
}

function credential(value: CredentialOpt): Writer {
  return new Writer()
    .string(1, value.ID)
    .int(2, value.uid)
    .int(3, value.gid)
    .int(4, value.mode)
    .int(5, value.optional);
}

function fileAction(value: FileAction): Writer {
  const writer = new Writer().int(1, value.input).int(2, value.secondaryInput).int(3, value.output);
  switch (value.kind) {
    case "copy":
      return writer.message(4, copy(value.copy));
    case "mkfile":
      return writer.message(
        5,
        new Writer()
          .string(1, value.mkfile.path)
          .int(2, value.mkfile.mode)
          .bytes(3, value.mkfile.data)
          .message(4, owner(value.mkfile.owner))
          .int(5, value.mkfile.timestamp),
      );
    case "mkdir":
      return writer.message(
        6,
        new Writer()
          .string(1, value.mkdir.path)
          .int(2, value.mkdir.mode)
          .int(3, value.mkdir.makeParents)
          .message(4, owner(value.mkdir.owner))
          .int(5, value.mkdir.timestamp),
      );
    case "rm":
      return writer.message(
        7,
        new Writer().string(1, value.rm.path).int(2, value.rm.allowNotFound).int(3, value.rm.allowWildcard),
      );
    case "symlink":
      return writer.message(
        8,
        new Writer()
          .string(1, value.symlink.oldpath)
          .string(2, value.symlink.newpath)
          .message(3, owner(value.symlink.owner))
          .int(4, value.symlink.timestamp),
      );
  }
}

function copy(value: FileActionCopy): Writer {
  return new Writer()
    .string(1, value.src)
    .string(2, value.dest)
    .message(3, owner(value.owner))
    .int(4, value.mode)
    .int(5, value.followSymlink)
    .int(6, value.dirCopyContents)
    .int(7, value.attemptUnpackDockerCompatibility)
    .int(8, value.createDestPath)
    .int(9, value.allowWildcard)
    .int(10, value.allowEmptyWildcard)
    .int(11, value.timestamp)
    .strings(12, value.includePatterns)
    .strings(13, value.excludePatterns)
    .int(14, value.alwaysReplaceExistingDestPaths)
    .string(15, value.modeStr)
    .strings(16, value.requiredPaths);
}

function owner(value: ChownOpt | undefined): Writer | undefined {
  if (value === undefined) return undefined;
  return new Writer().message(1, value.user && user(value.user)).message(2, value.group && user(value.group));
}

function user(value: UserOpt): Writer {
  if (value.kind === "byName")
    return new Writer().message(1, new Writer().string(1, value.name).int(2, value.input));
  // a field of a oneof is written even if it is 0
  return new Writer().oneofInt(2, value.id);
}

function opMetadata(value: OpMetadata): Writer {
  const group = value.progressGroup;
  return new Writer()
    .int(1, value.ignoreCache)
    .map(2, Object.entries(value.description), (w, text) => w.mapString(text))
    .map(
      5,
      value.caps.map((cap) => [cap, true] as const),
      (w, flag) => w.mapBool(flag),
    )
    .message(6, group && new Writer().string(1, group.id).string(2, group.name).int(3, group.weak));
}

function source(value: Source): Writer {
  return new Writer()
    .map(1, value.locations, (w, locations) => w.mapMessage(new Writer().messages(1, locations, location)))
    .messages(2, value.infos, sourceInfo);
}

function sourceInfo(value: SourceInfo): Writer {
  return new Writer()
    .string(1, value.filename)
    .bytes(2, value.data)
    .message(3, value.definition && definitionMessage(value.definition))
    .string(4, value.language);
}

function location(value: Location): Writer {
  return new Writer()
    .int(1, value.sourceIndex)
    .messages(2, value.ranges, (range) =>
      new Writer().message(1, position(range.start)).message(2, position(range.end)),
    );
}

function position(value: Position): Writer {
  return new Writer().int(1, value.line).int(2, value.character);
}
