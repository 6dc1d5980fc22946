// Building graphs: a vertex is an op that is not marshalled yet; its inputs are outputs of other vertices. `marshal`
// turns a graph into a definition in BuildKit's order (depth first, inputs in order, each op once).
import { digestOf, type Digest } from "../lib/index.js";
import { encodeOp } from "./encode.js";
import type {
  Definition,
  DefinitionOp,
  Input,
  Location,
  Op,
  OpBody,
  OpMetadata,
  Platform,
  ProgressGroup,
  SourceInfo,
} from "./types.js";

export interface VertexOptions {
  readonly customName?: string | undefined;
  readonly description?: Readonly<Record<string, string>> | undefined;
  readonly ignoreCache?: boolean | undefined;
  readonly progressGroup?: ProgressGroup | undefined;
  readonly platform?: Platform | undefined;
  readonly locations?: readonly Location[] | undefined;
}

/** Output `index` of a vertex; `undefined` where it is used means scratch. */
export interface Output {
  readonly vertex: Vertex;
  readonly index: number;
}

export interface Vertex {
  readonly inputs: readonly Output[];
  /** the inputs in the order in which a definition lists them, where that is not the order of `inputs` */
  readonly walk: readonly Output[];
  readonly body: OpBody;
  readonly caps: readonly string[];
  readonly options: VertexOptions;
}

export function vertex(
  body: OpBody,
  inputs: readonly Output[],
  caps: readonly string[],
  options: VertexOptions,
  walk: readonly Output[] = inputs,
): Vertex {
  return { body, inputs, walk, caps, options };
}

/** What a definition returns, to build on; the ops keep their digests. */
export function definitionOutput({ ops }: Definition): Output {
  const vertices = new Map<Digest, Vertex>();
  const outputs = (inputs: readonly Input[]): Output[] =>
    inputs.map(({ digest, index }) => ({ vertex: vertices.get(digest)!, index }));
  for (const { digest, op, metadata } of ops) {
    const { ignoreCache, description, caps, progressGroup } = metadata;
    const options = { ignoreCache, description, progressGroup, platform: op.platform };
    const inputs = outputs(op.inputs);
    if (op.kind === "return") return inputs[0]!;
    vertices.set(digest, vertex(op, inputs, caps, options));
  }
  throw new Error("a definition ends with what it returns");
}

/** The definition of `output`; scratch (undefined) has none. `sources` are the texts that locations point into. */
export function marshal(output: Output, sources: readonly SourceInfo[] = []): Definition {
  const ops: DefinitionOp[] = [];
  const seen = new Map<Vertex, Digest>();
  const added = new Map<Digest, number>();
  const locations = new Map<Digest, Location[]>();

  const add = (op: Op, metadata: OpMetadata): Digest => {
    const bytes = encodeOp(op);
    const digest = digestOf(bytes);
    const known = added.get(digest);
    if (known === undefined) added.set(digest, ops.push({ digest, op, bytes, metadata }) - 1);
    else ops[known] = { ...ops[known]!, metadata: mergeMetadata(ops[known]!.metadata, metadata) };
    return digest;
  };

  // An explicit stack: a Dockerfile may have thousands of steps in a row.
  const stack: Vertex[] = [output.vertex];
  while (stack.length > 0) {
    const top = stack[stack.length - 1]!;
    if (seen.has(top)) {
      stack.pop();
      continue;
    }
    const next = top.walk.find((input) => !seen.has(input.vertex));
    if (next) {
      stack.push(next.vertex);
      continue;
    }
    stack.pop();
    const inputs = top.inputs.map((input) => ({ digest: seen.get(input.vertex)!, index: input.index }));
    const { platform } = top.options;
    const digest = add(
      { ...withoutDuplicates(top.body, inputs), constraints: { filter: [] }, ...(platform && { platform }) },
      metadataOf(top),
    );
    seen.set(top, digest);
    const known = locations.get(digest) ?? [];
    for (const location of top.options.locations ?? []) {
      if (!known.some((other) => JSON.stringify(other) === JSON.stringify(location))) known.push(location);
    }
    locations.set(digest, known);
  }

  add(
    { kind: "return", inputs: [{ digest: seen.get(output.vertex)!, index: output.index }] },
    { ignoreCache: false, description: {}, caps: metadataCaps(ops) },
  );
  return { ops, source: { locations, infos: sources } };
}

function metadataOf(vertex: Vertex): OpMetadata {
  const { customName, description, ignoreCache, progressGroup } = vertex.options;
  return {
    ignoreCache: ignoreCache ?? false,
    description: { ...description, ...(customName !== undefined && { "llb.customname": customName }) },
    caps: vertex.caps,
    ...(progressGroup && { progressGroup }),
  };
}

/** What the returning op declares: the kinds of metadata that any op of the graph has. */
function metadataCaps(ops: readonly DefinitionOp[]): string[] {
  const caps = ["constraints", "platform"];
  if (ops.some(({ metadata }) => Object.keys(metadata.description).length > 0)) caps.push("meta.description");
  if (ops.some(({ metadata }) => metadata.ignoreCache)) caps.push("meta.ignorecache");
  return caps;
}

/** Different vertices may turn out to be the same op; exec and file ops then have it as one input. */
function withoutDuplicates(
  body: OpBody,
  inputs: readonly Input[],
): OpBody & { readonly inputs: readonly Input[] } {
  const unique: Input[] = [];
  const newIndex = inputs.map((input) => {
    const known = unique.findIndex((other) => other.digest === input.digest && other.index === input.index);
    return known >= 0 ? known : unique.push(input) - 1;
  });
  if (unique.length === inputs.length) return { ...body, inputs };
  const removed = inputs.length - unique.length;
  const map = (index: number): number => (index < 0 ? index : (newIndex[index] ?? index - removed));
  if (body.kind === "exec") {
    const mounts = body.exec.mounts.map((mount) => ({ ...mount, input: map(mount.input) }));
    return { kind: "exec", exec: { ...body.exec, mounts }, inputs: unique };
  }
  if (body.kind === "file") {
    const actions = body.file.actions.map((action) => ({
      ...action,
      input: map(action.input),
      secondaryInput: map(action.secondaryInput),
    }));
    return { kind: "file", file: { actions }, inputs: unique };
  }
  return { ...body, inputs };
}

/** Two vertices became the same op: the later description wins, the cache is ignored if either asks for it. */
function mergeMetadata(a: OpMetadata, b: OpMetadata): OpMetadata {
  const progressGroup = b.progressGroup ?? a.progressGroup;
  return {
    ignoreCache: a.ignoreCache || b.ignoreCache,
    description: { ...a.description, ...b.description },
    caps: [...new Set([...a.caps, ...b.caps])],
    ...(progressGroup && { progressGroup }),
  };
}
