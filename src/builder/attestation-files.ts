// What files of results say of others: predicates, and folders of in-toto statements.
import { basename } from "node:path";
import type { Predicate } from "../exporter/index.js";
import { BuildError, messageOf, type GoValue } from "../lib/index.js";
import type { Job, Solution } from "./job.js";

/** Bytes of one predicate. */
export const MAX_PREDICATE = 64 << 20;

interface Statement {
  readonly predicateType?: string;
  readonly subject?: readonly { readonly name?: string; readonly digest?: Record<string, string> }[];
  readonly predicate?: GoValue;
}

/** Whether a file is what a scanner says of the image itself. @param core how that is called; empty: it is not there */
export function isSbomCore(file: string, core: string): boolean {
  return core !== "" && basename(file).split(".")[0] === core;
}

/**
 * A folder whose files are statements.
 * @param type of all of them; empty: any
 * @param core see `isSbomCore`
 * @throws BuildError ATTESTATION_INVALID, what the solution fails with
 */
export async function readBundle(
  path: string,
  type: string,
  job: Job,
  solution: Solution,
  core: string,
): Promise<Predicate[]> {
  const names = (await job.list(solution, path, "folder")).map(({ name }) => `${path}/${name}`);
  const files = await job.read(solution, names, MAX_PREDICATE);
  return names.map((name) => {
    const found = parseAttestation(name, files.get(name) ?? new Uint8Array()) as unknown as Statement;
    const { predicateType = "", subject = [], predicate = null } = found;
    if (type !== "" && predicateType !== type)
      throw invalidAttestation(
        `bundle entry ${predicateType} does not match required predicate type ${type}`,
      );
    const subjects = subject.map((one) => ({ name: one.name || "_", digest: one.digest ?? {} }));
    return {
      type: predicateType,
      file: name,
      value: predicate,
      isSbomCore: isSbomCore(name, core),
      ...(subjects.length > 0 && { subjects }),
    };
  });
}

/** @throws BuildError ATTESTATION_INVALID */
export function parseAttestation(path: string, data: Uint8Array): GoValue {
  if (data.length === 0) return null;
  try {
    return JSON.parse(Buffer.from(data).toString()) as GoValue;
  } catch (cause) {
    throw new BuildError("ATTESTATION_INVALID", `attestation ${path}: ${messageOf(cause)}`, { cause });
  }
}

export function invalidAttestation(problem: string): BuildError {
  return new BuildError("ATTESTATION_INVALID", `attestation ${problem}`);
}
