// Where an image comes from: SLSA provenance as BuildKit writes it. "min" tells sources and how they were asked for,
// "max" arguments and the graph as well.
// Source of the format: slsa.dev/provenance/v0.2, and what docker 28.5 writes.
import type { Predicate } from "../exporter/index.js";
import { packageUrl } from "../exporter/index.js";
import { formatPlatform, hostPlatform } from "../frontend/index.js";
import { redacted, type GoValue } from "../lib/index.js";
import {
  enums,
  type ChownOpt,
  type Definition,
  type DefinitionOp,
  type FileAction,
  type Op,
  type Platform,
  type UserOpt,
} from "../llb/index.js";
import type { Descriptor } from "../content/index.js";
import type { Material } from "../op/index.js";
import { parseReference } from "../registry/index.js";

const TYPES = {
  "v0.2": "https://slsa.dev/provenance/v0.2",
  v1: "https://slsa.dev/provenance/v1",
} as const;
/** What a build is, in the words of v1. */
const BUILD_TYPE = "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md";
const BUILDKIT = "https://mobyproject.org/buildkit@v1";

/** What was asked of a frontend. */
export interface ProvenanceRequest {
  /** with the image; the build's record has it anyway */
  readonly isWanted: boolean;
  readonly mode: "min" | "max";
  /** of SLSA's predicate */
  readonly version: keyof typeof TYPES;
  /** only with what is pushed or kept as an image */
  readonly isInlineOnly: boolean;
  readonly builderId: string;
  /** of the build */
  readonly id: string;
  /** milliseconds since 1970 */
  readonly startedAt: number;
  readonly frontend: string;
  /** without anything secret */
  readonly args: Readonly<Record<string, string>>;
  /** what who runs the builder says of it */
  readonly environment?: Readonly<Record<string, GoValue>>;
  /** names of the client's folders that the frontend itself has read */
  readonly locals: readonly string[];
}

/**
 * What a graph was made from.
 * @param materials of its sources that are neither images nor the client's
 * @param layers of its steps' outputs, by "DIGEST:INDEX"
 */
export function provenance(
  request: ProvenanceRequest,
  definition: Definition | undefined,
  platform: Platform,
  materials: readonly Material[],
  layers: ReadonlyMap<string, readonly Descriptor[]> = new Map(),
): Predicate {
  const { mode, version, args, frontend, id, startedAt, builderId, environment } = request;
  const isMax = mode === "max";
  const ops = definition?.ops ?? [];
  const locals = unique([...request.locals, ...identifiers(ops, "local://")]).sort();
  const { source, entryPoint, parameters, vcs } = splitArgs(args);
  const credentials = credentialsOf(ops);
  const all = [...imagesOf(ops, platform), ...materials.map(materialJson)];
  const config = {
    uri: source && redacted(source),
    digest: materials.find(({ uri }) => source && uri === redacted(source))?.digest,
    path: entryPoint || undefined,
  };
  const isComplete = locals.length === 0;
  const isHermetic = isComplete && !ops.some(({ op }) => op.kind === "exec" && op.exec.network !== "NONE");
  // build arguments and labels may tell more than the sources do
  const told = Object.entries(parameters).filter(([key]) => isMax || !/^(?:build-arg|label):/.test(key));
  const tellsAll = told.length === Object.keys(parameters).length;
  const asked = {
    frontend,
    args: sortedOrNone(Object.fromEntries(told)),
    secrets: isMax ? list(credentials.secrets) : undefined,
    ssh: isMax ? list(credentials.agents) : undefined,
    locals: list(locals.map((name) => ({ name }))),
  };
  const graph = isMax && definition ? buildConfig(definition) : undefined;
  const host = formatPlatform(hostPlatform());
  const [startedOn, finishedOn] = [startedAt, Date.now()].map((time) => new Date(time).toISOString());
  const metadata = {
    vcs: sortedOrNone(vcs),
    source: isMax && definition?.source ? sourceJson(definition) : undefined,
    layers: isMax ? layersJson(ops, layers) : undefined,
  };
  const value = {
    "v0.2": (): GoValue => ({
      builder: { id: builderId },
      buildType: BUILDKIT,
      materials: list(all),
      invocation: {
        configSource: {
          uri: config.uri || undefined,
          digest: plainOrNone(config.digest),
          entryPoint: config.path,
        },
        parameters: asked,
        environment: { platform: host, ...environment },
      },
      buildConfig: graph,
      metadata: {
        buildInvocationID: id,
        buildStartedOn: startedOn,
        buildFinishedOn: finishedOn,
        completeness: { parameters: tellsAll, environment: true, materials: isComplete },
        reproducible: false,
        [`${BUILDKIT}#metadata`]: metadata,
        [`${BUILDKIT}#hermetic`]: isHermetic || undefined,
      },
    }),
    v1: (): GoValue => ({
      buildDefinition: {
        buildType: BUILD_TYPE,
        resolvedDependencies: list(all),
        externalParameters: {
          configSource: {
            uri: config.uri || undefined,
            digest: plainOrNone(config.digest),
            path: config.path,
          },
          request: asked,
        },
        internalParameters: { buildConfig: graph, builderPlatform: host, ...environment },
      },
      runDetails: {
        builder: { id: builderId },
        metadata: {
          invocationID: id,
          startedOn,
          finishedOn,
          buildkit_metadata: metadata,
          buildkit_hermetic: isHermetic || undefined,
          buildkit_completeness: { request: tellsAll, resolvedDependencies: isComplete },
        },
      },
    }),
  }[version]();
  return { type: TYPES[version], file: "provenance.json", value };
}

function plainOrNone(digest: Material["digest"] | undefined): GoValue {
  return digest && { ...digest };
}

function splitArgs(args: ProvenanceRequest["args"]) {
  const parameters: Record<string, string> = {};
  const vcs: Record<string, string> = {};
  for (const [key, value] of Object.entries(args)) {
    if (key.startsWith("vcs:")) vcs[key.slice("vcs:".length)] = value;
    else if (!HOST_ARGS.has(key) && !key.startsWith("attest:")) parameters[key] = value;
  }
  return { source: args["context"], entryPoint: args["filename"], parameters, vcs };
}

/** What is no part of what is built, or stands elsewhere. */
const HOST_ARGS = new Set([
  "cache-from",
  "cache-imports",
  "cgroup-parent",
  "context",
  "filename",
  "image-resolve-mode",
  "platform",
]);

function sortedOrNone(map: Readonly<Record<string, string>>): GoValue {
  const keys = Object.keys(map).sort();
  return keys.length === 0 ? undefined : Object.fromEntries(keys.map((key) => [key, map[key]]));
}

function list(values: readonly GoValue[]): GoValue {
  return values.length > 0 ? values : undefined;
}

function unique<T>(values: readonly T[]): T[] {
  return [...new Set(values)];
}

function identifiers(ops: readonly DefinitionOp[], scheme: string): string[] {
  return ops.flatMap(({ op }) =>
    op.kind === "source" && op.source.identifier.startsWith(scheme)
      ? [op.source.identifier.slice(scheme.length)]
      : [],
  );
}

function imagesOf(ops: readonly DefinitionOp[], platform: Platform): GoValue[] {
  const images = ops.flatMap(({ op }) => {
    const [, scheme, text] =
      op.kind === "source" ? (/^(docker-image|oci-layout):\/\/(.*)$/s.exec(op.source.identifier) ?? []) : [];
    if (text === undefined) return [];
    const reference = parseReference(text);
    const type = scheme === "oci-layout" ? "oci" : "docker";
    const uri = packageUrl(reference, formatPlatform(op.platform ?? platform), type);
    const sha256 = reference.digest?.replace("sha256:", "");
    return [JSON.stringify({ uri, ...(sha256 && { digest: { sha256 } }) })];
  });
  return unique(images).map((text) => JSON.parse(text) as GoValue);
}

function materialJson({ uri, digest }: Material): GoValue {
  return { uri, digest: { ...digest } };
}

function credentialsOf(ops: readonly DefinitionOp[]): { secrets: GoValue[]; agents: GoValue[] } {
  const secrets = new Map<string, boolean>();
  const agents = new Map<string, boolean>();
  for (const { op } of ops) {
    if (op.kind !== "exec") continue;
    for (const { secretOpt, SSHOpt } of op.exec.mounts) {
      if (secretOpt) secrets.set(secretOpt.ID, secretOpt.optional && (secrets.get(secretOpt.ID) ?? true));
      const agent = SSHOpt?.ID || "default";
      if (SSHOpt) agents.set(agent, SSHOpt.optional && (agents.get(agent) ?? true));
    }
    for (const { ID, optional } of op.exec.secretEnv) secrets.set(ID, optional && (secrets.get(ID) ?? true));
  }
  const json = (map: ReadonlyMap<string, boolean>): GoValue[] =>
    [...map].sort().map(([id, optional]) => ({ id, optional: optional || undefined }));
  return { secrets: json(secrets), agents: json(agents) };
}

/** The graph, its ops named by their order. */
function buildConfig({ ops }: Definition): Record<string, GoValue> {
  const names = new Map(ops.map(({ digest }, i) => [digest, `step${i}`]));
  const digests = ops.map(({ digest }) => digest).sort();
  return {
    llbDefinition: ops.map(({ op }, i) => ({
      id: `step${i}`,
      op: opJson(op),
      inputs: list(op.inputs.map(({ digest, index }) => `${names.get(digest)!}:${index}`)),
    })),
    digestMapping: Object.fromEntries(digests.map((digest) => [digest, names.get(digest)])),
  };
}

/** An op as Go's encoding/json writes the message: what is one of several under the name of the choice. */
function opJson(op: Op): GoValue {
  return {
    Op: bodyJson(op),
    platform: op.platform && plain(op.platform),
    constraints: op.constraints && plain(op.constraints),
  };
}

function bodyJson(op: Op): GoValue {
  switch (op.kind) {
    case "source": {
      const { "local.session": _, "local.unique": __, ...attrs } = op.source.attrs;
      const { identifier } = op.source;
      return { source: { identifier, attrs: sortedOrNone(attrs) } };
    }
    case "exec": {
      const { mounts, network, security, secretEnv, ...rest } = op.exec;
      const { NET_MODES, SECURITY_MODES, MOUNT_TYPES, CACHE_SHARING, CONTENT_CACHE } = enums;
      return {
        exec: plain({
          ...rest,
          mounts: mounts.map(({ mountType, contentCache, cacheOpt, ...mount }) => ({
            ...mount,
            mountType: MOUNT_TYPES.indexOf(mountType),
            contentCache: CONTENT_CACHE.indexOf(contentCache),
            cacheOpt: cacheOpt && { ID: cacheOpt.ID, sharing: CACHE_SHARING.indexOf(cacheOpt.sharing) },
          })),
          network: NET_MODES.indexOf(network),
          security: SECURITY_MODES.indexOf(security),
          secretenv: secretEnv,
        }),
      };
    }
    case "file":
      return { file: { actions: op.file.actions.map(actionJson) } };
    case "merge":
      return { merge: { inputs: op.merge.inputs.map((input) => ({ input })) } };
    case "diff":
      return { diff: { lower: { input: op.diff.lower }, upper: { input: op.diff.upper } } };
    case "build": {
      const { builder, inputs, attrs } = op.build;
      const named = Object.entries(inputs).map(([name, input]) => [name, { input }] as const);
      return { build: plain({ builder, inputs: Object.fromEntries(named), attrs }) };
    }
    case "return":
      return {};
  }
}

function actionJson(action: FileAction): GoValue {
  const { input, secondaryInput, output } = action;
  const choice = (): GoValue => {
    switch (action.kind) {
      case "copy": {
        const { owner, includePatterns, excludePatterns, requiredPaths, ...copy } = action.copy;
        const patterns = { include_patterns: includePatterns, exclude_patterns: excludePatterns };
        return {
          copy: plain({ ...copy, ...patterns, required_paths: requiredPaths, owner: ownerJson(owner) }),
        };
      }
      case "mkfile":
        return { mkfile: plain({ ...action.mkfile, owner: ownerJson(action.mkfile.owner) }) };
      case "mkdir":
        return { mkdir: plain({ ...action.mkdir, owner: ownerJson(action.mkdir.owner) }) };
      case "rm":
        return { rm: plain(action.rm) };
      case "symlink":
        return { symlink: plain({ ...action.symlink, owner: ownerJson(action.symlink.owner) }) };
    }
  };
  return { input, secondaryInput, output, Action: choice() };
}

function ownerJson(owner: ChownOpt | undefined): GoValue {
  const one = (user: UserOpt | undefined): GoValue =>
    user && {
      User: user.kind === "byID" ? { byID: user.id } : { byName: { name: user.name, input: user.input } },
    };
  return owner && { user: one(owner.user), group: one(owner.group) };
}

/** As Go leaves out what is empty; bytes are base64. */
function plain(value: unknown): GoValue {
  if (value instanceof Uint8Array)
    return value.length > 0 ? Buffer.from(value).toString("base64") : undefined;
  if (Array.isArray(value)) return value.length > 0 ? value.map((item) => plain(item) ?? null) : undefined;
  if (typeof value === "bigint") return value === 0n ? undefined : Number(value);
  if (typeof value === "object" && value !== null)
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item)]));
  return value === "" || value === false || value === 0 ? undefined : (value as GoValue);
}

/** Chains of layers by step and output, as BuildKit keeps them: "step0:0". */
function layersJson(
  ops: readonly DefinitionOp[],
  layers: ReadonlyMap<string, readonly Descriptor[]>,
): GoValue {
  const steps = new Map(ops.map(({ digest }, i) => [digest as string, `step${i}`]));
  const entries = [...layers].map(([name, chain]): [string, GoValue] => {
    const [, digest, index] = /^(.*):(\d+)$/.exec(name)!;
    return [
      `${steps.get(digest!)!}:${index}`,
      [chain.map(({ mediaType, digest, size }) => ({ mediaType, digest, size }))],
    ];
  });
  return entries.length > 0 ? Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1))) : undefined;
}

function sourceJson({ ops, source }: Definition): GoValue {
  const locations = ops.flatMap(({ op, digest }, i): [string, GoValue][] => {
    // what returns is nobody's line
    if (op.kind === "return") return [];
    const known = source!.locations.get(digest) ?? [];
    const places = known.map(({ ranges }) => ({ ranges: plain(ranges) }));
    return [[`step${i}`, places.length > 0 ? { locations: places } : {}]];
  });
  return {
    locations: Object.fromEntries(locations),
    infos: source!.infos.map(({ filename, data, language, definition }) => ({
      filename,
      language: language || undefined,
      data: Buffer.from(data).toString("base64"),
      ...(definition && buildConfig(definition)),
    })),
  };
}
