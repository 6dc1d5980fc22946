// A definition to the vertices of a solver.
import { BuildError, type Digest } from "../lib/index.js";
import type { Definition, Platform } from "../llb/index.js";
import type { Edge, Op, Vertex } from "../solver/index.js";
import type { OpContext, RefResult } from "./context.js";
import { BoundedOp } from "./bounded.js";
import { BuildOp } from "./build-op.js";
import { checkOp } from "./check-op.js";
import { DiffOp } from "./diff-op.js";
import { ExecOp } from "./exec-op.js";
import { FileOp } from "./file-op.js";
import { MergeOp } from "./merge-op.js";
import { opName } from "./op-name.js";
import { sourceOp } from "./source-op.js";

export interface LoadedGraph {
  readonly vertices: ReadonlyMap<Digest, Vertex<RefResult>>;
  /** what the definition returns */
  readonly target: Edge;
}

/** Kinds of steps that take a turn where there are only so many. */
const BOUNDED: ReadonlySet<string> = new Set(["source", "exec", "file"]);

/** @throws BuildError LLB_INVALID, NOT_ALLOWED */
export function loadDefinition(
  definition: Definition,
  defaultPlatform: Platform,
  context: OpContext,
  stateRoot: string,
): LoadedGraph {
  const vertices = new Map<Digest, Vertex<RefResult>>();
  let target: Edge | undefined;
  for (const entry of definition.ops) {
    const { op, digest, metadata } = entry;
    checkOp(op);
    const inputs = op.inputs.map((input) => ({ vertex: input.digest, index: input.index }));
    if (op.kind === "return") {
      if (entry !== definition.ops.at(-1))
        throw new BuildError("LLB_INVALID", "failed to load LLB: only the last op returns");
      target = inputs[0];
      continue;
    }
    const platform = op.platform ?? defaultPlatform;
    const name = metadata.description["llb.customname"] ?? opName(op);
    vertices.set(digest, {
      digest,
      name,
      inputs,
      ignoreCache: metadata.ignoreCache,
      isSource: op.kind === "source",
      isKept: op.kind === "source" && /^(?:docker-image|git|https?):\/\//.test(op.source.identifier),
      op: BOUNDED.has(op.kind) && context.steps ? new BoundedOp(opOf(), context.steps) : opOf(),
    });
    function opOf(): Op<RefResult> {
      switch (op.kind) {
        case "source":
          return remembered(context, digest, () => sourceOp(op.source, platform, context, stateRoot));
        case "exec":
          return execOp();
        case "file":
          return new FileOp(entry, op.file, name, context);
        case "merge":
          return new MergeOp(op.merge, context);
        case "diff":
          return new DiffOp(op.diff, name, context);
        case "build":
          return new BuildOp(op.build, inputs.length, context);
        case "return":
          throw new BuildError("LLB_INVALID", "only the last op returns");
      }
    }
    function execOp(): ExecOp {
      if (op.kind !== "exec") throw new BuildError("LLB_INVALID", "not an exec op");
      if (op.exec.security === "INSECURE" && !context.entitlements.has("security.insecure")) {
        throw new BuildError("NOT_ALLOWED", "failed to load LLB: security.insecure is not allowed");
      }
      if (op.exec.network === "HOST" && !context.entitlements.has("network.host")) {
        throw new BuildError("NOT_ALLOWED", "failed to load LLB: network.host is not allowed");
      }
      // a step that is wanted anew begins with empty cache mounts
      for (const { cacheOpt } of op.exec.mounts)
        if (cacheOpt && metadata.ignoreCache) context.cacheMounts.forget(cacheOpt.ID);
      return new ExecOp(entry, op.exec, platform, context);
    }
  }
  if (!target) throw new BuildError("LLB_INVALID", "definition returns nothing");
  return { vertices, target };
}

function remembered(context: OpContext, digest: Digest, make: () => Op<RefResult>): Op<RefResult> {
  let op = context.sources.get(digest);
  if (!op) context.sources.set(digest, (op = make()));
  return op;
}
