// The client of a daemon.
import type { CredentialSource } from "../../registry/index.js";

/** Where a daemon listens. */
export interface Endpoint {
  /** "unix:///run/buildkit/buildkitd.sock", "tcp://127.0.0.1:1234" */
  readonly address: string;
  /** files, PEM; of tcp:// alone */
  readonly tls?: {
    /** who has signed the daemon's certificate; else the system's */
    readonly ca?: string | undefined;
    readonly cert?: string | undefined;
    readonly key?: string | undefined;
    /** the name in the daemon's certificate, if it is not the address's host */
    readonly serverName?: string | undefined;
  };
}

export interface RemoteBuilderOptions {
  /** what users call it, and its node: "ci", "ci0" */
  readonly name: string;
  readonly node: string;
  /** what is lent to builds that push and pull */
  readonly credentials: CredentialSource;
  readonly environment: Readonly<Record<string, string | undefined>>;
}
