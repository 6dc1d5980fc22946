// The vocabulary of the daemon.
import type { GoValue } from "../lib/index.js";
import type { EngineOptions } from "../builder/index.js";
import type { RegistrySettings } from "../registry/index.js";

export interface HistoryLimits {
  /** milliseconds; older records go */
  readonly maxAge: number;
  /** records that stay however old they are */
  readonly maxEntries: number;
}

/** Where the daemon listens: "unix:///run/x.sock", "tcp://127.0.0.1:1234", "fd://" (systemd). */
export type Address = string;

export interface TlsFiles {
  readonly cert: string;
  readonly key: string;
  /** who may connect; `undefined`: everybody who trusts the certificate */
  readonly ca: string | undefined;
}

export interface DaemonOptions {
  readonly engine: EngineOptions;
  readonly addresses: readonly Address[];
  readonly tls: TlsFiles | undefined;
  /** numeric id of the group that may use a unix socket */
  readonly group: number | undefined;
  /** what builds may be allowed: "network.host", "security.insecure", "device" */
  readonly entitlements: ReadonlySet<string>;
  readonly labels: Readonly<Record<string, string>>;
  readonly registries: ReadonlyMap<string, RegistrySettings>;
  /** of what is remembered of builds, where they are not the usual ones */
  readonly history: Partial<HistoryLimits>;
  /** what is said of this machine in the provenance of what it builds */
  readonly provenanceEnvironment?: Readonly<Record<string, GoValue>>;
  /** credentials of caches are read from here, never from the client's */
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly debug: (text: string) => void;
  /** what is shown in any case */
  readonly warn: (text: string) => void;
}
