// Attestations of an image: in-toto statements in a manifest of their own, which an index ties to the image's.
// Source of the formats: BuildKit's docs/attestations/attestation-storage.md, and what docker 28.5 pushes.
import { digestOf, goJson, goJsonIndent, hexOf, type GoValue } from "../lib/index.js";
import { familiarReference, type Reference } from "../registry/index.js";
import type { LayerDescriptor } from "../snapshot/index.js";
import { descriptorJson, OCI_CONFIG, OCI_MANIFEST, type PlatformImage } from "./image.js";

const STATEMENT = "application/vnd.in-toto+json";
const ARTIFACT_TYPE = "application/vnd.docker.attestation.manifest.v1+json";
const EMPTY_TYPE = "application/vnd.oci.empty.v1+json";
const EMPTY = Buffer.from("{}");

/** What is said of a result. */
export interface Predicate {
  /** "https://slsa.dev/provenance/v0.2" */
  readonly type: string;
  readonly value: GoValue;
  /** how its file is called where the result is files: "provenance.json" */
  readonly file: string;
  /** an SPDX document of the image itself */
  readonly isSbomCore?: boolean;
  /** what it is said of; `undefined`: the result as a whole */
  readonly subjects?: readonly (Subject | "self")[] | undefined;
}

export interface Subject {
  readonly name: string;
  /** by algorithm, hexadecimal */
  readonly digest: Readonly<Record<string, string>>;
}

/** An in-toto statement. @param self what the result is */
export function statement(
  { type, value, subjects = ["self"] }: Predicate,
  self: readonly Subject[],
): GoValue {
  return {
    _type: "https://in-toto.io/Statement/v0.1",
    predicateType: type,
    subject: subjects
      .flatMap((subject) => (subject === "self" ? self : [subject]))
      .map(({ name, digest }) => ({ name, digest: { ...digest } })),
    predicate: value,
  };
}

/** The manifest with what is said, and how it stands in the index. */
export interface AttestationImage extends PlatformImage {
  readonly annotations: Readonly<Record<string, string>>;
  /** the statements, by digest */
  readonly blobs: readonly Buffer[];
}

/**
 * @param names under which the image is known
 * @param isArtifact as an OCI artifact that names the image as its subject, not as an image
 */
export function buildAttestation(
  { image, platform }: PlatformImage,
  names: readonly Reference[],
  predicates: readonly Predicate[],
  isArtifact = false,
): AttestationImage {
  const digest = { sha256: hexOf(image.descriptor.digest) };
  const self = subjectNames(names, platform).map((name) => ({ name, digest }));
  const blobs = predicates.map((predicate) => Buffer.from(goJson(statement(predicate, self))));
  const layers = blobs.map((data): LayerDescriptor => {
    const digest = digestOf(data);
    return { mediaType: STATEMENT, digest, size: data.length, diffId: digest };
  });
  const imageConfig = Buffer.from(
    goJson({
      architecture: "unknown",
      os: "unknown",
      config: {},
      rootfs: { type: "layers", diff_ids: layers.map(({ digest }) => digest) },
    }),
  );
  const config = isArtifact ? EMPTY : imageConfig;
  const configType = isArtifact ? EMPTY_TYPE : OCI_CONFIG;
  const configDescriptor = { mediaType: configType, digest: digestOf(config), size: config.length };
  const manifest = Buffer.from(
    goJsonIndent({
      schemaVersion: 2,
      mediaType: OCI_MANIFEST,
      artifactType: isArtifact ? ARTIFACT_TYPE : undefined,
      config: {
        ...descriptorJson(configDescriptor),
        data: isArtifact ? EMPTY.toString("base64") : undefined,
      },
      layers: layers.map((layer, i) => ({
        ...descriptorJson(layer),
        annotations: { "in-toto.io/predicate-type": predicates[i]!.type },
      })),
      subject: isArtifact ? descriptorJson(image.descriptor) : undefined,
    }),
  );
  const descriptor = { mediaType: OCI_MANIFEST, digest: digestOf(manifest), size: manifest.length };
  return {
    image: { config, configDescriptor, manifest, descriptor, layers },
    platform: { os: "unknown", architecture: "unknown" },
    annotations: {
      "vnd.docker.reference.digest": image.descriptor.digest,
      "vnd.docker.reference.type": "attestation-manifest",
    },
    blobs,
  };
}

function subjectNames(
  names: readonly Reference[],
  { os, architecture, variant }: PlatformImage["platform"],
): string[] {
  const platform = [os, architecture, ...(variant ? [variant] : [])].join("/");
  return names.length > 0 ? names.map((name) => packageUrl(name, platform)) : ["_"];
}

/** "pkg:docker/app@1?platform=linux%2Famd64" (github.com/package-url/purl-spec) */
export function packageUrl(reference: Reference, platform: string, type = "docker"): string {
  const { digest, ...named } = reference;
  const [, path, tag] = /^(.*?)(?::([^:/]+))?$/s.exec(familiarReference({ ...named, digest: undefined }))!;
  const version = tag ?? (digest === undefined ? "latest" : undefined);
  const qualifiers = [
    ...(version === undefined ? [`digest=${digest}`] : []),
    `platform=${encodeURIComponent(platform)}`,
  ];
  return `pkg:${type}/${path}${version === undefined ? "" : `@${version}`}?${qualifiers.join("&")}`;
}
