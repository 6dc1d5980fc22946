// What a client's frontend says of its results: predicates in files of other results, alone or as folders of statements.
import {
  invalidAttestation,
  isSbomCore,
  type Job,
  MAX_PREDICATE,
  parseAttestation,
  readBundle,
  type Solution,
} from "../builder/index.js";
import type { Predicate, Subject } from "../exporter/index.js";
import {
  AttestationKind,
  InTotoSubjectKind,
  type Attestation,
  type Result,
} from "./gen/buildkit/gateway_pb.js";

/**
 * @param solutionOf what a reference stands for
 * @returns by platform
 * @throws BuildError ATTESTATION_INVALID, what `solutionOf` throws
 */
export async function predicatesOf(
  { attestations }: Result,
  job: Job,
  solutionOf: (id: string) => Solution | undefined,
): Promise<ReadonlyMap<string, readonly Predicate[]>> {
  const entries = Object.entries(attestations).map(async ([platform, { attestation: list }]) => {
    const found = await Promise.all(list.map((one) => read(one, job, solutionOf(one.ref?.id ?? ""))));
    return [platform, found.flat()] as const;
  });
  return new Map(await Promise.all(entries));
}

async function read(
  { kind, path, inTotoPredicateType: type, inTotoSubjects, metadata }: Attestation,
  job: Job,
  solution: Solution | undefined,
): Promise<Predicate[]> {
  if (!solution) throw invalidAttestation(`${path || type}: no result was given`);
  const core = Buffer.from(metadata["sbom-core"] ?? []).toString();
  if (kind === AttestationKind.Bundle) return readBundle(path, type, job, solution, core);
  const data = (await job.read(solution, [path], MAX_PREDICATE)).get(path);
  if (!data) throw invalidAttestation(`${path}: no such file`);
  const subjects = inTotoSubjects.map(({ kind: of, name, digest }): Subject | "self" =>
    of === InTotoSubjectKind.Self ? "self" : { name: name || "_", digest: digestMap(digest) },
  );
  return [
    {
      type,
      file: path,
      value: parseAttestation(path, data),
      isSbomCore: isSbomCore(path, core),
      ...(subjects.length > 0 && { subjects }),
    },
  ];
}

/** "sha256:..." */
function digestMap(digests: readonly string[]): Record<string, string> {
  return Object.fromEntries(digests.map((text) => text.split(":") as [string, string]));
}
