// The seam between a frontend and whatever runs it: the embedded engine or a daemon's gateway.
import type { Digest } from "../lib/index.js";
import type { Definition, Output, Platform, Range, SourceInfo } from "../llb/index.js";

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
  /** OCI layout of the client to look in, instead of registries */
  readonly layout?: string | undefined;
  /** name of the progress step */
  readonly logName: string;
}

/** What a frontend may ask of its host. */
export interface FrontendHost {
  /** @throws Error in the registry's words, wrapped as BuildKit wraps it */
  resolveImage(reference: string, options: ResolveImageOptions): Promise<ResolvedImage>;
  /**
   * What the client's policy has used in a source's place, images being replaced by `resolveImage` itself.
   * @param identifier "docker-image://docker.io/library/alpine:latest" @throws Error if it is denied
   */
  allowedSource?(identifier: string): string;
  /**
   * Solves a definition and reads files of its result; a file that is not there is not in the map.
   * @param limit bytes to read of each
   */
  readFiles(
    definition: Definition,
    paths: readonly string[],
    limit?: number,
  ): Promise<ReadonlyMap<string, Uint8Array>>;
}

export type NamedContext =
  | { readonly kind: "image"; readonly reference: string }
  | { readonly kind: "local"; readonly name: string }
  /** an image in an OCI layout of the client; `reference` is "NAME@sha256:..." */
  | { readonly kind: "layout"; readonly store: string; readonly reference: string }
  /** another graph; `undefined`: scratch. `config` is the config of the image it makes, if it makes one */
  | {
      readonly kind: "input";
      readonly definition: Definition | undefined;
      readonly config: string | undefined;
    }
  /** a git repository or a file behind a URL */
  | { readonly kind: "remote"; readonly url: string };

/** A build request as the Dockerfile frontend understands it (buildx's frontend attributes, typed). */
export interface FrontendRequest {
  /** git repository or URL; empty: the client's folder "context" */
  readonly context: string;
  readonly filename: string;
  /** the Dockerfile is the client's, though the context is not */
  readonly hasOwnDockerfile: boolean;
  readonly target: string;
  readonly buildArgs: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  /** one graph each; empty: the build platform */
  readonly platforms: readonly Platform[];
  /** "true" or "false", as the client says it: whether the result has platforms */
  readonly multiPlatform?: string | undefined;
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
  /** of the containers of steps */
  readonly hostname?: string;
  /** sessions that lend a folder of their own, by its name */
  readonly localSessions?: Readonly<Record<string, string>>;
  readonly given?: GivenContexts;
  /** results are scanned for what is in them */
  readonly sbom?: SbomRequest | undefined;
}

export interface SbomRequest {
  /** image of the scanner, normalized */
  readonly generator: string;
  /** for the scanner, by name */
  readonly parameters: Readonly<Record<string, string>>;
}

/** What a scanner looks at. */
export interface ScanTargets {
  /** `undefined`: scratch */
  readonly core: Output | undefined;
  /** what else of the build, by name */
  readonly extras: ReadonlyMap<string, Output | undefined>;
  readonly ignoreCache: boolean;
}

/** What clients of a daemon may say of context and Dockerfile besides: BuildKit's frontend inputs and key attributes. */
export interface GivenContexts {
  /** a graph instead of the client's folder; nothing in it is ignored */
  readonly context?: Definition | undefined;
  /** a graph that has the Dockerfile */
  readonly dockerfile?: Definition | undefined;
  /** of the client's folder; "context" */
  readonly contextName?: string | undefined;
  /** of the client's folder; "dockerfile" */
  readonly dockerfileName?: string | undefined;
  /** folder of a context that is not the client's, which is taken for all of it */
  readonly subdir?: string | undefined;
}

export interface FrontendResult {
  readonly platform: Platform;
  /** `undefined`: an image without layers */
  readonly definition: Definition | undefined;
  /** the config without the layers made by the build, as BuildKit's `containerimage.config` */
  readonly config: string;
  readonly baseConfig: string | undefined;
  /** a folder of statements about what is in it */
  readonly sbom?: Definition | undefined;
}

export interface FrontendWarning {
  /** name of the linter's rule */
  readonly rule: string;
  readonly description: string;
  readonly url: string;
  /** what is wrong here */
  readonly detail: string;
  /** one for each line concerned */
  readonly ranges: readonly Range[];
}

export interface FrontendOutcome {
  /** the image is an index even if it has one platform */
  readonly multiPlatform: boolean;
  readonly results: readonly FrontendResult[];
  readonly source: SourceInfo;
}

/** What a frontend can tell instead of building: BuildKit's subrequests lint, outline and targets. */
export type Call = "check" | "outline" | "targets";

interface Named {
  readonly name: string;
  readonly description: string;
}

export interface OutlineArg extends Named {
  readonly value: string;
  readonly range: Range;
}

export interface OutlineCredential {
  readonly name: string;
  readonly isRequired: boolean;
  readonly range: Range;
}

/** What can be set from outside for a target. */
export interface Outline extends Named {
  readonly args: readonly OutlineArg[];
  readonly secrets: readonly OutlineCredential[];
  readonly agents: readonly OutlineCredential[];
}

export interface Target extends Named {
  readonly isDefault: boolean;
  /** as written */
  readonly base: string;
  readonly platform: string;
  readonly range: Range;
}

export type Description = { readonly source: SourceInfo } & (
  | {
      readonly kind: "check";
      readonly warnings: readonly FrontendWarning[];
      /** why no build is possible */
      readonly error: { readonly message: string; readonly ranges: readonly Range[] } | undefined;
    }
  | { readonly kind: "outline"; readonly outline: Outline }
  | { readonly kind: "targets"; readonly targets: readonly Target[] }
);
