// The vocabulary of the daemon.
import type { EngineOptions } from "../builder/index.js";

/** Where the daemon listens: "unix:///run/x.sock", "tcp://127.0.0.1:1234", "fd://" (systemd). */
export type Address = string;

export interface TlsFiles {
  readonly cert: string;
  readonly key: string;
  /** who may connect; `undefined`: everybody who trusts the certificate */
  readonly ca: string | undefined;
}

/** How a registry is reached. */
export interface RegistrySettings {
  readonly mirrors: readonly string[];
  readonly http: boolean;
  /** certificates are not checked */
  readonly insecure: boolean;
  /** files with certificates */
  readonly ca: readonly string[];
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
  /** credentials of caches are read from here, never from the client's */
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly debug: (text: string) => void;
}
