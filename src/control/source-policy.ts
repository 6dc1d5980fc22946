// Source policies: rules of a client about which sources a build may use, and what is used in their place.
// Source of the rules: BuildKit's docs/build-repro.md and sourcepolicy/pb/policy.proto.
import { Code, ConnectError } from "@connectrpc/connect";
import { digestOf, type Digest } from "../lib/index.js";
import { encodeOp, type Definition, type DefinitionOp, type SourceOp } from "../llb/index.js";
import {
  AttrMatch,
  MatchType,
  PolicyAction,
  type AttrConstraint,
  type Policy,
  type Rule,
} from "./gen/buildkit/policy_pb.js";

/** A source that is replaced more often than this goes round in circles. */
const MAX_CONVERSIONS = 20;

export class SourcePolicy {
  readonly #policies: readonly Policy[];

  /** @throws ConnectError for versions that are not known */
  constructor(policies: readonly Policy[]) {
    for (const { version, rules } of policies) {
      if (version > 1n)
        throw new ConnectError(`unsupported source policy version ${version}`, Code.InvalidArgument);
      for (const { selector } of rules)
        if (!selector) throw new ConnectError("invalid nil selector in policy", Code.InvalidArgument);
    }
    this.#policies = policies;
  }

  /** These policies, then those. */
  before(policies: readonly Policy[]): SourcePolicy {
    return new SourcePolicy([...this.#policies, ...policies]);
  }

  /** Those policies, then these. */
  after(policies: readonly Policy[]): SourcePolicy {
    return new SourcePolicy([...policies, ...this.#policies]);
  }

  /** The graph with what its sources are replaced by. @throws ConnectError for a source that is denied */
  apply(definition: Definition): Definition {
    if (this.#policies.length === 0) return definition;
    const renamed = new Map<Digest, Digest>();
    const ops = definition.ops.map((entry): DefinitionOp => {
      const inputs = entry.op.inputs.map((input) => ({
        ...input,
        digest: renamed.get(input.digest) ?? input.digest,
      }));
      const source = entry.op.kind === "source" ? this.source(entry.op.source) : undefined;
      const isSame =
        (!source || (entry.op.kind === "source" && source === entry.op.source)) &&
        inputs.every((input, i) => input.digest === entry.op.inputs[i]!.digest);
      if (isSame) return entry;
      const op =
        entry.op.kind === "source" && source ? { ...entry.op, inputs, source } : { ...entry.op, inputs };
      const bytes = encodeOp(op);
      const digest = digestOf(bytes);
      renamed.set(entry.digest, digest);
      return { ...entry, op, bytes, digest };
    });
    if (renamed.size === 0) return definition;
    const locations = [...(definition.source?.locations ?? [])].map(
      ([digest, list]) => [renamed.get(digest) ?? digest, list] as const,
    );
    return {
      ops,
      ...(definition.source && { source: { ...definition.source, locations: new Map(locations) } }),
    };
  }

  /** @returns the same object if nothing replaces it @throws ConnectError if it is denied */
  source(source: SourceOp): SourceOp {
    let current = source;
    for (let count = 0; count < MAX_CONVERSIONS; count++) {
      const next = this.#once(current);
      if (next === current) return current;
      current = next;
    }
    throw new ConnectError(`too many policy conversions of ${source.identifier}`, Code.FailedPrecondition);
  }

  /** What one policy denies, none after it allows. */
  #once(source: SourceOp): SourceOp {
    for (const { rules } of this.#policies) {
      const next = evaluate(rules, source);
      if (next !== source) return next;
    }
    return source;
  }
}

/** Of the rules of one policy that allow or deny, the last one counts. */
function evaluate(rules: readonly Rule[], source: SourceOp): SourceOp {
  let denied: Rule | undefined;
  for (const rule of rules) {
    const groups = matches(rule, source);
    if (!groups) continue;
    if (rule.action === PolicyAction.DENY) denied = rule;
    else if (rule.action === PolicyAction.ALLOW) denied = undefined;
    else if (rule.action !== PolicyAction.CONVERT) {
      const rest = `${rule.selector?.identifier}: unknown type ${JSON.stringify(source.identifier)}`;
      throw new ConnectError(`source policy: rule ${rule.action as number} ${rest}`, Code.InvalidArgument);
    } else {
      const changed = converted(rule, source, groups);
      if (changed !== source) return changed;
    }
  }
  if (!denied) return source;
  const { identifier } = denied.selector ?? { identifier: "" };
  throw new ConnectError(
    `source "${source.identifier}" denied by policy: rule DENY ${identifier}: source denied by policy`,
    Code.PermissionDenied,
  );
}

function converted({ updates }: Rule, source: SourceOp, groups: readonly string[]): SourceOp {
  if (!updates) throw new ConnectError("missing destination for convert rule", Code.InvalidArgument);
  const text = updates.identifier === "" ? source.identifier : updates.identifier;
  const identifier = text.replace(/\$\{(\d+)\}/g, (_, index: string) => groups[Number(index)] ?? "");
  const isSame =
    identifier === source.identifier &&
    Object.entries(updates.attrs).every(([key, value]) => source.attrs[key] === value);
  return isSame ? source : { identifier, attrs: { ...source.attrs, ...updates.attrs } };
}

/** What the selector's wildcards or groups stand for; `undefined` if it does not match. */
function matches({ selector }: Rule, { identifier, attrs }: SourceOp): readonly string[] | undefined {
  if (!selector || !selector.constraints.every((constraint) => holds(constraint, attrs))) return undefined;
  switch (selector.matchType) {
    case MatchType.EXACT:
      return selector.identifier === identifier ? [identifier] : undefined;
    case MatchType.REGEX:
      return new RegExp(selector.identifier).exec(identifier)?.map((group) => group ?? "");
    case MatchType.WILDCARD: {
      const pattern = selector.identifier.split("*").map(escaped).join("(.*)");
      return new RegExp(`^${pattern}$`, "s").exec(identifier)?.map((group) => group ?? "");
    }
    default:
      return undefined;
  }
}

function escaped(text: string): string {
  return text.replace(/[\\^$.|?+()[\]{}]/g, "\\$&");
}

function holds({ key, value, condition }: AttrConstraint, attrs: SourceOp["attrs"]): boolean {
  const actual = attrs[key] ?? "";
  if (condition === AttrMatch.EQUAL) return actual === value;
  if (condition === AttrMatch.NOTEQUAL) return actual !== value;
  return new RegExp(value).test(actual);
}
