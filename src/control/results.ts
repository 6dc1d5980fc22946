// Results of frontends as the gateway has them, and what the exporters need of them: references, and the images' configs
// as metadata. Source of the names: BuildKit's exporter/containerimage/exptypes.
import { create } from "@bufbuild/protobuf";
import { annotationsOf, type Outcome, type Outcomes, type Solution } from "../builder/index.js";
import {
  CORE,
  formatPlatform,
  hostPlatform,
  normalizePlatform,
  parsePlatform,
  SPDX,
  type FrontendOutcome,
} from "../frontend/index.js";
import { BuildError, defaultPath, goJson, messageOf } from "../lib/index.js";
import { ociPlatform, type Definition, type Platform } from "../llb/index.js";
import {
  AttestationKind,
  AttestationsSchema,
  ResultSchema,
  type Attestations,
  type Result,
} from "./gen/buildkit/gateway_pb.js";
import type { Predicate } from "../exporter/index.js";
import type { Definition as DefinitionMessage } from "./gen/buildkit/ops_pb.js";

const CONFIG = "containerimage.config";
const BASE_CONFIG = "containerimage.base.config";
const PLATFORMS = "refs.platforms";
const EPOCH = "source.date.epoch";

export interface GivenRef {
  readonly id: string;
  readonly def?: DefinitionMessage;
}

/**
 * @param isMulti one reference for each platform, even if there is one
 * @param refOf gives out a reference to a graph
 */
export function resultOf(
  { results }: FrontendOutcome,
  isMulti: boolean,
  refOf: (definition: Definition, platform: Platform) => GivenRef,
): Result {
  const metadata: Record<string, Uint8Array> = {};
  const refs: Record<string, GivenRef> = {};
  const attestations: Result["attestations"] = {};
  const platforms: object[] = [];
  for (const { definition, platform, config, baseConfig, sbom } of results) {
    const ID = formatPlatform(platform);
    platforms.push({ ID, Platform: ociPlatform(platform) });
    const suffix = isMulti ? `/${ID}` : "";
    metadata[`${CONFIG}${suffix}`] = Buffer.from(config);
    if (baseConfig !== undefined) metadata[`${BASE_CONFIG}${suffix}`] = Buffer.from(baseConfig);
    refs[ID] = definition ? refOf(definition, platform) : { id: "" };
    if (sbom) attestations[ID] = sbomAttestation(refOf(sbom, hostPlatform()));
  }
  metadata[PLATFORMS] = Buffer.from(JSON.stringify({ Platforms: platforms }));
  const rest = { metadata, attestations };
  if (isMulti) return create(ResultSchema, { result: { case: "refs", value: { refs } }, ...rest });
  return create(ResultSchema, { result: { case: "ref", value: Object.values(refs)[0]! }, ...rest });
}

/** A folder of statements about what is in a result. */
export function sbomAttestation(ref: GivenRef): Attestations {
  const metadata = { reason: Buffer.from("sbom"), "sbom-core": Buffer.from(CORE) };
  const kind = AttestationKind.Bundle;
  return create(AttestationsSchema, { attestation: [{ kind, ref, inTotoPredicateType: SPDX, metadata }] });
}

export function hasSbom({ attestations }: Result): boolean {
  return Object.values(attestations).some(({ attestation }) =>
    attestation.some(({ inTotoPredicateType }) => inTotoPredicateType === SPDX),
  );
}

/** What a frontend has told its client: keys that begin with "frontend.". */
export function returnedMetadata({ metadata }: Result): Record<string, string> {
  return Object.fromEntries(
    Object.entries(metadata).flatMap(([key, value]) =>
      key.startsWith("frontend.") ? [[key, Buffer.from(value).toString()]] : [],
    ),
  );
}

/** The references of a result, those to something. */
export function refsOf({ result }: Result): readonly string[] {
  const ids = result.case === "refs" ? Object.values(result.value.refs).map(({ id }) => id) : [];
  if (result.case === "ref") ids.push(result.value.id);
  return ids.filter((id) => id !== "");
}

/**
 * @param solutionOf what a reference stands for; `undefined`: scratch
 * @param predicates what is said of each platform
 * @throws what `solutionOf` throws
 */
export function outcomesOf(
  { result, metadata }: Result,
  solutionOf: (id: string) => Solution | undefined,
  predicates: ReadonlyMap<string, readonly Predicate[]> = new Map(),
): Outcomes {
  const text = (key: string): string | undefined => {
    const data = metadata[key];
    return data && Buffer.from(data).toString();
  };
  const attributes = Object.fromEntries(Object.keys(metadata).map((key) => [key, text(key) ?? ""]));
  const said = {
    annotations: annotationsOf(attributes),
    epoch: epochOf(text(EPOCH)),
    imageName: text("image.name"),
  };
  const outcome = ({ id, ref, suffix }: GivenPlatform): Outcome => {
    const platform = parsePlatform(id);
    return {
      solution: solutionOf(ref),
      platform,
      config: text(`${CONFIG}${suffix}`) ?? emptyConfig(platform),
      baseConfig: text(`${BASE_CONFIG}${suffix}`),
      predicates: predicates.get(id) ?? [],
    };
  };
  const results = platformsGiven({ result, metadata }).map(outcome);
  return { multiPlatform: result.case === "refs", results, ...said };
}

export interface GivenPlatform {
  /** "linux/amd64" */
  readonly id: string;
  /** of the result; empty: scratch */
  readonly ref: string;
  /** of its keys in metadata */
  readonly suffix: string;
}

/** @throws BuildError RESULT_INVALID */
export function platformsGiven({ result, metadata }: Pick<Result, "result" | "metadata">): GivenPlatform[] {
  const text = (key: string): string | undefined => {
    const data = metadata[key];
    return data && Buffer.from(data).toString();
  };
  const platforms = platformsOf(text(PLATFORMS));
  if (result.case === "refs") {
    const { refs } = result.value;
    const ids = platforms?.map(({ ID }) => ID) ?? Object.keys(refs);
    return ids.map((id) => ({ id, ref: refs[id]?.id ?? "", suffix: `/${id}` }));
  }
  const ref = result.case === "ref" ? result.value.id : result.case === "refDeprecated" ? result.value : "";
  const id = platforms?.[0]?.ID ?? formatPlatform(configPlatform(text(CONFIG)) ?? hostPlatform());
  return [{ id, ref, suffix: "" }];
}

/** @throws BuildError RESULT_INVALID */
function epochOf(text = ""): number | undefined {
  if (text === "") return undefined;
  if (!/^[+-]?\d+$/.test(text))
    throw new BuildError(
      "RESULT_INVALID",
      `invalid SOURCE_DATE_EPOCH from frontend: ${JSON.stringify(text)}`,
    );
  return Number(text);
}

/** What an image's config says it is for; whether it is one at all is looked at when it is exported. */
function configPlatform(config = ""): Platform | undefined {
  let fields: Readonly<Record<string, unknown>> | null;
  try {
    fields = JSON.parse(config) as Readonly<Record<string, unknown>> | null;
  } catch {
    return undefined;
  }
  const { os, architecture, variant, "os.version": version } = fields ?? {};
  if (!os !== !architecture)
    throw new BuildError(
      "RESULT_INVALID",
      "invalid image config: os and architecture must be specified together",
    );
  if (typeof os !== "string" || typeof architecture !== "string" || os === "") return undefined;
  return normalizePlatform({
    OS: os,
    Architecture: architecture,
    ...(typeof variant === "string" && { Variant: variant }),
    ...(typeof version === "string" && { OSVersion: version }),
  });
}

/** @throws BuildError RESULT_INVALID */
function platformsOf(text: string | undefined): readonly { readonly ID: string }[] | undefined {
  if (text === undefined) return undefined;
  type Entry = { readonly ID?: string; readonly Platform?: { os?: string; architecture?: string } };
  const invalid = (problem: string, cause?: unknown): BuildError =>
    new BuildError("RESULT_INVALID", problem, { cause });
  let entries: readonly Entry[];
  try {
    entries = (JSON.parse(text || "null") as { Platforms?: Entry[] } | null)?.Platforms ?? [];
  } catch (cause) {
    throw invalid(`failed to parse platforms passed to exporter: ${messageOf(cause)}`, cause);
  }
  if (entries.length === 0) throw invalid("invalid empty platforms index for exporter");
  return entries.map(({ ID, Platform: platform = {} }) => {
    if (!ID) throw invalid("invalid empty platform key for exporter");
    if (!platform.os || !platform.architecture)
      throw invalid(`invalid platform value ${JSON.stringify(platform)} for exporter`);
    return { ID };
  });
}

/** For graphs that come without one. */
function emptyConfig(platform: Platform): string {
  return goJson({
    ...ociPlatform(platform),
    config: { Env: [`PATH=${defaultPath(platform.OS)}`], WorkingDir: "/" },
    rootfs: { type: "layers", diff_ids: null },
  });
}
