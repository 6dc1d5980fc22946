// What a client's frontend says of its results: predicates in files of other results, alone or as folders of statements.
import type { Job, Solution } from "../builder/index.js";
import type { Predicate, Subject } from "../exporter/index.js";
import { BuildError, messageOf, type GoValue } from "../lib/index.js";
import {
  AttestationKind,
  InTotoSubjectKind,
  type Attestation,
  type Result,
} from "./gen/buildkit/gateway_pb.js";

/** Bytes of one predicate. */
const MAX_SIZE = 64 << 20;

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
  { kind, path, inTotoPredicateType: type, inTotoSubjects }: Attestation,
  job: Job,
  solution: Solution | undefined,
): Promise<Predicate[]> {
  if (!solution) throw invalid(`${path || type}: no result was given`);
  if (kind === AttestationKind.Bundle) return readBundle(path, type, job, solution);
  const data = (await job.read(solution, [path], MAX_SIZE)).get(path);
  if (!data) throw invalid(`${path}: no such file`);
  const subjects = inTotoSubjects.map(({ kind: of, name, digest }): Subject | "self" =>
    of === InTotoSubjectKind.Self ? "self" : { name: name || "_", digest: digestMap(digest) },
  );
  return [{ type, file: path, value: parse(path, data), ...(subjects.length > 0 && { subjects }) }];
}

interface Statement {
  readonly predicateType?: string;
  readonly subject?: readonly { readonly name?: string; readonly digest?: Record<string, string> }[];
  readonly predicate?: GoValue;
}

/** A folder whose files are statements. */
async function readBundle(path: string, type: string, job: Job, solution: Solution): Promise<Predicate[]> {
  const names = (await job.list(solution, path, "folder")).map(({ name }) => `${path}/${name}`);
  const files = await job.read(solution, names, MAX_SIZE);
  return names.map((name) => {
    const found = parse(name, files.get(name) ?? new Uint8Array()) as unknown as Statement;
    const { predicateType = "", subject = [], predicate = null } = found;
    if (type !== "" && predicateType !== type)
      throw invalid(`bundle entry ${predicateType} does not match required predicate type ${type}`);
    const subjects = subject.map((one) => ({ name: one.name || "_", digest: one.digest ?? {} }));
    return { type: predicateType, file: name, value: predicate, ...(subjects.length > 0 && { subjects }) };
  });
}

/** "sha256:..." */
function digestMap(digests: readonly string[]): Record<string, string> {
  return Object.fromEntries(digests.map((text) => text.split(":") as [string, string]));
}

function parse(path: string, data: Uint8Array): GoValue {
  if (data.length === 0) return null;
  try {
    return JSON.parse(Buffer.from(data).toString()) as GoValue;
  } catch (cause) {
    throw new BuildError("ATTESTATION_INVALID", `attestation ${path}: ${messageOf(cause)}`, { cause });
  }
}

function invalid(problem: string): BuildError {
  return new BuildError("ATTESTATION_INVALID", `attestation ${problem}`);
}
