// Platforms as OCI has them.
import type { Platform } from "./types.js";

/** As descriptors and configs of images have it. */
export interface OciPlatform {
  readonly architecture: string;
  readonly os: string;
  readonly "os.version"?: string;
  readonly "os.features"?: readonly string[];
  readonly variant?: string;
}

/** Its fields in the order of OCI's specification. */
export function ociPlatform({ OS, Architecture, Variant, OSVersion, OSFeatures }: Platform): OciPlatform {
  return {
    architecture: Architecture,
    os: OS,
    ...(OSVersion && { "os.version": OSVersion }),
    ...(OSFeatures?.length && { "os.features": OSFeatures }),
    ...(Variant && { variant: Variant }),
  };
}
