// What ops work with.
import type { BlobStore } from "../content/index.js";
import type { CdiDevices, DnsSettings } from "../executor/index.js";
import type { RefResult } from "../cache/index.js";
import type { Session } from "../session/index.js";
import type { CacheMounts, Ref, RefStore } from "../snapshot/index.js";
import type { HttpSource, ImageSource } from "../source/index.js";
import type { Worker } from "../worker/index.js";
import { digestOf, type Digest, type Limiter } from "../lib/index.js";
import type { CacheMap, Op } from "../solver/index.js";
import type { LeftBehind } from "./left-behind.js";

export interface OpContext {
  readonly refs: RefStore;
  readonly blobs: BlobStore;
  readonly images: ImageSource;
  /** OCI layouts of the client by name */
  readonly layouts: { get(name: string): ImageSource | undefined };
  readonly worker: Worker;
  readonly http: HttpSource;
  readonly session: Session;
  readonly cacheMounts: CacheMounts;
  /** "security.insecure", "network.host", "device", "device=NAME": what the client allowed */
  readonly entitlements: ReadonlySet<string>;
  /** devices that RUN --device can name */
  readonly devices: () => Promise<CdiDevices>;
  /** OCI runtime to use; `undefined`: the first that works */
  readonly runtime: string | undefined;
  /** of containers, where it is not the host's */
  readonly dns: DnsSettings | undefined;
  /** bounds how many steps run at once, if anything does */
  readonly steps: Limiter | undefined;
  /** output of a step's command */
  readonly log: (vertex: Digest, stream: 1 | 2, data: Uint8Array) => void;
  /** a step has made a layer that will be packed: time to begin */
  readonly made: (ref: Ref) => void;
  /** Told what an op that failed leaves behind; `undefined` where nobody will look at it. */
  readonly failed: ((error: unknown, left: LeftBehind) => void) | undefined;
  /** a result that no later build can find: it goes with this one */
  readonly transient: (ref: Ref) => void;
  /** a client's folder as it was last sent; it stays as long as the build. @param key which folder of which client */
  readonly lastSent: (key: string) => Ref | undefined;
  /** a client's folder as it was sent now: the next build begins with it */
  readonly sent: (key: string, ref: Ref) => void;
  /** sources of this build by digest: what is fetched to be looked at is not fetched again to be built from */
  readonly sources: Map<Digest, Op<RefResult>>;
  /** Solves a graph, the message pb.Definition, within this build; empty: scratch. @throws BuildError LLB_INVALID */
  readonly solveGraph: (definition: Uint8Array) => Promise<RefResult>;
  /** told of sources that are neither images nor the client's, once they are found */
  readonly found: (material: Material) => void;
  /** unique for every container on this machine */
  readonly containerId: () => string;
}

/** A source as it was found. */
export interface Material {
  readonly uri: string;
  /** by algorithm: "sha256", "sha1" */
  readonly digest: Readonly<Record<string, string>>;
}

export type { RefResult };

/** The cache map of a source whose content `key` names. */
export function sourceKey(digest: string): CacheMap<RefResult> {
  return { digest: digestOf(`buildkit.source.v0:${digest}`), inputs: [] };
}
