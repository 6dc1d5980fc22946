// The seam between a frontend and whatever runs it: the embedded engine or a daemon's gateway.
import type { Digest } from "../lib/index.js";
import type { Definition, Platform, SourceInfo } from "../llb/index.js";

export interface ResolvedImage {
  /** normalized reference, as it goes into the graph without its digest */
  readonly reference: string;
  /** digest of the manifest, or of the index for an image of several platforms */
  readonly digest: Digest;
  /** bytes of the image config of the platform asked for */
  readonly config: Uint8Array;
}

export interface ResolveImageOptions {
  readonly platform: Platform;
  readonly resolveMode: "default" | "pull" | "local";
  /** name of the progress step */
  readonly logName: string;
}

/** What a frontend may ask of its host. */
export interface FrontendHost {
  /** @throws Error in the registry's words, wrapped as BuildKit wraps it */
  resolveImage(reference: string, options: ResolveImageOptions): Promise<ResolvedImage>;
  /** Solves a definition and reads files of its result; a file that is not there is not in the map. */
  readFiles(definition: Definition, paths: readonly string[]): Promise<ReadonlyMap<string, Uint8Array>>;
}

export type NamedContext =
  { readonly kind: "image"; readonly reference: string } | { readonly kind: "local"; readonly name: string };

/** A build request as the Dockerfile frontend understands it (buildx's frontend attributes, typed). */
export interface FrontendRequest {
  readonly filename: string;
  readonly target: string;
  readonly buildArgs: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  /** one graph each; empty: the build platform */
  readonly platforms: readonly Platform[];
  readonly buildPlatform: Platform;
  /** `true` or the names of stages that must not use the cache */
  readonly noCache: boolean | readonly string[];
  readonly pull: boolean;
  /** by name, lower case */
  readonly contexts: Readonly<Record<string, NamedContext>>;
  readonly addHosts: readonly { readonly host: string; readonly ip: string }[];
  readonly network: "default" | "none" | "host";
  /** bytes, 0 for the default */
  readonly shmSize: number;
  readonly ulimits: readonly { readonly Name: string; readonly Soft: number; readonly Hard: number }[];
  readonly cgroupParent: string;
  readonly sessionId: string;
}

export interface FrontendResult {
  readonly platform: Platform;
  /** `undefined`: an image without layers */
  readonly definition: Definition | undefined;
  /** the config without the layers made by the build, as BuildKit's `containerimage.config` */
  readonly config: string;
  readonly baseConfig: string | undefined;
}

export interface FrontendOutcome {
  /** the image is an index even if it has one platform */
  readonly multiPlatform: boolean;
  readonly results: readonly FrontendResult[];
  readonly source: SourceInfo;
}
