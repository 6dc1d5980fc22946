// A build from request to response. `Builder` is the seam: the embedded engine, or the client of a daemon.
import type { Readable } from "node:stream";
import type { CacheExport } from "../cache/index.js";
import type { Call, Description, FrontendRequest, FrontendWarning, NamedContext } from "../frontend/index.js";
import type { Definition, Platform } from "../llb/index.js";
import type { Descriptor } from "../content/index.js";
import type { Moved, ProgressListener } from "../progress/index.js";
import type { PruneOptions, UsageRecord } from "../prune/index.js";
import type { LayerFormat } from "../snapshot/index.js";
import type { ProvenanceRequest } from "./provenance.js";
import type { SecretSource } from "../session/index.js";

/** A cache or an output as buildx's flags and BuildKit's API say it: `type=azblob,name=app,mode=max`. */
export interface Entry {
  /** "image", "oci", "docker", "local", "tar"; "azblob", "registry", "local", "inline" */
  readonly type: string;
  /** Without the type. An output's "dest" is a path of the client, "-" its standard output. */
  readonly attributes: Readonly<Record<string, string>>;
}

/** SOURCE_DATE_EPOCH, in seconds; `undefined`: as the result's frontend says */
export type Epoch = number | undefined;

export type Output = ImageOutput | ArchiveOutput | FilesOutput;

export interface ImageOptions {
  /** besides those of the request */
  readonly annotations: readonly Annotation[];
  /** in place of what the result's frontend says: "containerimage.config", or that and "/PLATFORM" */
  readonly metadata: Readonly<Record<string, string>>;
  /** no file is later than SOURCE_DATE_EPOCH */
  readonly rewriteTimestamp: boolean;
  readonly format: LayerFormat;
  /** else docker's */
  readonly ociMediaTypes: boolean;
  /** what is said of it is an OCI artifact, not an image */
  readonly ociArtifact: boolean;
}

export interface ImageOutput {
  readonly kind: "image";
  readonly names: readonly string[];
  /** what an image without a name is called: this, "@" and its digest; "" for nothing */
  readonly danglingPrefix: string;
  readonly push: boolean;
  readonly epoch: Epoch;
  /** without a tag */
  readonly byDigest: boolean;
  /** registries are asked over plain http */
  readonly insecure: boolean;
  readonly image: ImageOptions;
}

export interface ArchiveOutput {
  readonly kind: "oci" | "docker";
  readonly names: readonly string[];
  readonly dest: Destination;
  /** one file, or an OCI layout */
  readonly isTar: boolean;
  readonly epoch: Epoch;
  readonly image: ImageOptions;
}

export interface FilesOutput {
  readonly kind: "local" | "tar";
  readonly dest: Destination;
  readonly epoch: Epoch;
  /** each platform in a folder of its own; `undefined`: if there are several */
  readonly platformSplit: boolean | undefined;
  /** before the names of files with what is said of the result */
  readonly attestationPrefix: string;
}

/** A path ("-" is standard output), or a client that takes what it is sent. */
export type Destination = string | ClientDestination;

/** A store of blobs; its index is the client's own business. */
export interface LayoutDestination {
  putFile(descriptor: Descriptor, file: string): Promise<void>;
  putData(descriptor: Descriptor, data: Uint8Array): Promise<void>;
}

export interface ClientDestination {
  /** @param moved is told of bytes */
  takeFolder(folder: string, moved: Moved, signal: AbortSignal): Promise<void>;
  /** where it keeps an image as an OCI layout, not as a file */
  readonly layout: LayoutDestination;
  /** @param metadata what is said of the file: "containerimage.digest" and the like */
  takeFile(content: Readable, metadata: Readonly<Record<string, string>>, signal: AbortSignal): Promise<void>;
}

export interface Annotation {
  /** What it is put on; "manifest-descriptor": the entry of a manifest in its index, "index-descriptor": that of an index. */
  readonly on: "manifest" | "index" | "manifest-descriptor" | "index-descriptor";
  /** of one platform only */
  readonly platform: string | undefined;
  readonly key: string;
  readonly value: string;
}

/** What a frontend wants of the outputs of its result. */
export interface OutputWishes {
  /** what images are to have */
  readonly annotations?: readonly Annotation[];
  /** for outputs that have none */
  readonly epoch?: Epoch;
  /** for outputs whose name is "*" */
  readonly imageName?: string | undefined;
}

/** What becomes of a build's results. */
export interface ExportRequest {
  readonly outputs: readonly Output[];
  readonly cacheTo: readonly CacheExport[];
  readonly annotations: readonly Annotation[];
  /** said of images in an attestation; asked when the build is solved */
  readonly provenance?: (() => ProvenanceRequest | undefined) | undefined;
  readonly signal: AbortSignal;
}

export interface BuildRequest {
  readonly frontend: Omit<FrontendRequest, "sessionId" | "contexts" | "buildPlatform">;
  /** by local name: "context", "dockerfile" and named contexts */
  readonly folders: ReadonlyMap<string, string>;
  readonly contexts: Readonly<Record<string, NamedContext>>;
  /** OCI image layouts by store name */
  readonly layouts: ReadonlyMap<string, string>;
  readonly secrets: ReadonlyMap<string, SecretSource>;
  readonly agents: ReadonlyMap<string, string>;
  readonly entitlements: ReadonlySet<string>;
  readonly outputs: readonly Entry[];
  readonly cacheTo: readonly Entry[];
  readonly cacheFrom: readonly Entry[];
  readonly annotations: readonly Annotation[];
  /** of the images; none if it is left out */
  readonly provenance?: Pick<ProvenanceRequest, "mode" | "version" | "builderId"> | undefined;
  readonly onProgress: ProgressListener;
  readonly signal: AbortSignal;
  /** part of the graph's local sources; random if not given */
  readonly sessionId?: string;
}

export interface BuildResponse {
  /** "containerimage.digest" and the like */
  readonly metadata: Readonly<Record<string, unknown>>;
  /** what the frontend made, one for each platform */
  readonly definitions: readonly (Definition | undefined)[];
  /** image configs before layers and times are filled in, one for each platform */
  readonly frontendResults: readonly { readonly config: string; readonly baseConfig: string | undefined }[];
  /** what the linter says */
  readonly warnings: readonly FrontendWarning[];
}

/** Where builds run, as `bluekiln inspect` shows it. */
export interface BuilderInfo {
  /** of BuildKit, "v0.25.0"; empty where builds run in this process */
  readonly version: string;
  readonly workers: readonly {
    readonly id: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly platforms: readonly Platform[];
  }[];
}

export interface Builder {
  build(request: BuildRequest): Promise<BuildResponse>;
  /** What the frontend says about the Dockerfile; nothing is built. */
  describe(request: BuildRequest, call: Call): Promise<Description>;
  /** What it keeps, largest first. @throws BuildError FILTER_INVALID */
  diskUsage(filters: readonly string[], signal: AbortSignal): Promise<readonly UsageRecord[]>;
  /** Removes what nobody uses. @param removed is told of each. @throws BuildError FILTER_INVALID */
  prune(options: PruneOptions, removed: (record: UsageRecord) => void, signal: AbortSignal): Promise<void>;
  info(signal: AbortSignal): Promise<BuilderInfo>;
  close(): Promise<void>;
}
