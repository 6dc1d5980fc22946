// What is in a result: the image of a scanner runs with the result mounted, and writes in-toto statements. Source:
// BuildKit's docs/attestations/sbom-protocol.md.
import { BuildError, messageOf, wrapError } from "../lib/index.js";
import { exec, image, marshal, type Definition, type MountRequest, type Output } from "../llb/index.js";
import { formatReference, parseReference, withDefaultTag } from "../registry/index.js";
import { hostPlatform, parseImageConfig } from "./dockerfile/convert/index.js";
import type { FrontendHost, SbomRequest, ScanTargets } from "./types.js";

/** Type of the statements that scanners write. */
export const SPDX = "https://spdx.dev/Document";
/** How the result itself is called. */
export const CORE = "sbom";

const DEFAULT_SCANNER = "docker/buildkit-syft-scanner:stable-1";
const SOURCE = "/run/src/";
const DESTINATION = "/run/out/";

/** @param name of what is scanned @returns the folder with the statements */
export type SbomScanner = (name: string, targets: ScanTargets) => Definition;

/**
 * Fields as of `--attest type=sbom,...`: "generator", anything else is a parameter of the scanner.
 * @returns `undefined` if nothing is to be scanned
 * @throws BuildError FRONTEND_ATTRIBUTE_INVALID
 */
export function sbomRequest(fields: ReadonlyMap<string, string>): SbomRequest | undefined {
  const { generator = DEFAULT_SCANNER, disabled, ...parameters } = Object.fromEntries(fields);
  if (disabled === "true") return undefined;
  if (generator === "") throw new BuildError("FRONTEND_ATTRIBUTE_INVALID", "sbom generator cannot be empty");
  try {
    return { generator: formatReference(withDefaultTag(parseReference(generator))), parameters };
  } catch (error) {
    throw new BuildError(
      "FRONTEND_ATTRIBUTE_INVALID",
      `failed to parse sbom generator ${generator}: ${messageOf(error)}`,
    );
  }
}

/** @throws BuildError SCANNER_INVALID, IMAGE_UNRESOLVED */
export async function sbomScanner(
  { generator, parameters }: SbomRequest,
  host: FrontendHost,
  resolveMode: "default" | "pull",
): Promise<SbomScanner> {
  const platform = hostPlatform();
  const logName = `resolve image config for docker-image://${generator}`;
  const resolved = await host
    .resolveImage(generator, { platform, resolveMode, logName })
    .catch((error: unknown) => {
      throw wrapError(error, "IMAGE_UNRESOLVED", generator);
    });
  const { Entrypoint, Cmd, Env, WorkingDir } = parseImageConfig(resolved.config).config;
  const args = [...(Entrypoint ?? []), ...(Cmd ?? [])];
  if (args.length === 0) throw new BuildError("SCANNER_INVALID", `scanner ${generator} does not have cmd`);
  const ofScanner = Object.entries(parameters).map(
    ([key, value]) => [`BUILDKIT_SCAN_${key}`, value] as const,
  );

  return (name, { core, extras, ignoreCache }) => {
    const env = new Map([
      ...(Env ?? []).map((entry) => splitEntry(entry)),
      ["BUILDKIT_SCAN_DESTINATION", DESTINATION] as const,
      ["BUILDKIT_SCAN_SOURCE", `${SOURCE}core/${CORE}`] as const,
      ...(extras.size > 0 ? [["BUILDKIT_SCAN_SOURCE_EXTRAS", `${SOURCE}extras`] as const] : []),
      ...ofScanner,
    ]);
    const seen = (dest: string, source: Output | undefined): MountRequest => ({
      type: "BIND",
      dest: SOURCE + dest,
      source,
      readonly: true,
    });
    const mounts: MountRequest[] = [
      { type: "TMPFS", dest: "/tmp", size: 0 },
      seen(`core/${CORE}`, core),
      ...[...extras].map(([extra, source]) => seen(`extras/${CORE}-${extra}`, source)),
      { type: "BIND", dest: DESTINATION },
    ];
    const meta = {
      args,
      env: [...env].map(([key, value]) => `${key}=${value}`),
      cwd: WorkingDir || "/",
      user: "",
      extraHosts: [],
      hostname: "",
      ulimit: [],
      cgroupParent: "",
      removeMountStubsRecursive: true,
      validExitCodes: [],
    };
    const { vertex } = exec(
      image(generator, resolveMode, { platform }),
      { meta, mounts, network: "UNSET", security: "SANDBOX", secretEnv: [], cdiDevices: [] },
      { customName: `[${name}] generating sbom using ${generator}`, ignoreCache, platform },
    );
    // after the root, the only mount that is written to
    return marshal({ vertex, index: 1 });
  };
}

function splitEntry(entry: string): readonly [string, string] {
  const [key, value = ""] = entry.split(/=(.*)/s);
  return [key!, value];
}
