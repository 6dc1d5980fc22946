// Attestations of an image: in-toto statements in a manifest of their own, which an index ties to the image's.
// Source of the formats: BuildKit's docs/attestations/attestation-storage.md, and what docker 28.5 pushes.
import { digestOf, goJson, goJsonIndent, hexOf, type GoValue } from "../lib/index.js";
import { familiarReference, type Reference } from "../registry/index.js";
import type { LayerDescriptor } from "../snapshot/index.js";
import { descriptorJson, OCI_CONFIG, OCI_MANIFEST, type PlatformImage } from "./image.js";

const STATEMENT = "application/vnd.in-toto+json";

/** What is said of an image. */
export interface Predicate {
  /** "https://slsa.dev/provenance/v0.2" */
  readonly type: string;
  readonly value: GoValue;
}

/** The manifest with what is said, and how it stands in the index. */
export interface AttestationImage extends PlatformImage {
  readonly annotations: Readonly<Record<string, string>>;
  /** the statements, by digest */
  readonly blobs: readonly Buffer[];
}

/** @param names under which the image is known */
export function buildAttestation(
  { image, platform }: PlatformImage,
  names: readonly Reference[],
  predicates: readonly Predicate[],
): AttestationImage {
  const blobs = predicates.map(({ type, value }) =>
    Buffer.from(
      goJson({
        _type: "https://in-toto.io/Statement/v0.1",
        predicateType: type,
        subject: subjectNames(names, platform).map((name) => ({
          name,
          digest: { sha256: hexOf(image.descriptor.digest) },
        })),
        predicate: value,
      }),
    ),
  );
  const layers = blobs.map((data): LayerDescriptor => {
    const digest = digestOf(data);
    return { mediaType: STATEMENT, digest, size: data.length, diffId: digest };
  });
  const config = Buffer.from(
    goJson({
      architecture: "unknown",
      os: "unknown",
      config: {},
      rootfs: { type: "layers", diff_ids: layers.map(({ digest }) => digest) },
    }),
  );
  const configDescriptor = { mediaType: OCI_CONFIG, digest: digestOf(config), size: config.length };
  const manifest = Buffer.from(
    goJsonIndent({
      schemaVersion: 2,
      mediaType: OCI_MANIFEST,
      config: descriptorJson(configDescriptor),
      layers: layers.map((layer, i) => ({
        ...descriptorJson(layer),
        annotations: { "in-toto.io/predicate-type": predicates[i]!.type },
      })),
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
export function packageUrl(reference: Reference, platform: string): string {
  const { digest, ...named } = reference;
  const [, path, tag] = /^(.*?)(?::([^:/]+))?$/s.exec(familiarReference({ ...named, digest: undefined }))!;
  const version = tag ?? (digest === undefined ? "latest" : undefined);
  const qualifiers = [
    ...(version === undefined ? [`digest=${digest}`] : []),
    `platform=${encodeURIComponent(platform)}`,
  ];
  return `pkg:docker/${path}${version === undefined ? "" : `@${version}`}?${qualifiers.join("&")}`;
}
