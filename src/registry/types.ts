// How registries are reached.

export interface RegistrySettings {
  /** hosts that are asked first when something is pulled */
  readonly mirrors: readonly string[];
  /** over plain http */
  readonly http: boolean;
  /** certificates are not checked */
  readonly insecure: boolean;
  /** files with certificates of authorities, besides the usual ones */
  readonly ca: readonly string[];
}
