// How registries are reached.

export interface RegistrySettings {
  /** hosts that are asked first when something is pulled */
  readonly mirrors: readonly string[];
  /** over plain http; `undefined`: if it is this machine */
  readonly http: boolean | undefined;
  /** certificates are not checked */
  readonly insecure: boolean;
  /** files with certificates of authorities, besides the usual ones */
  readonly ca: readonly string[];
  /** files with certificates of ours and their keys */
  readonly keyPairs: readonly { readonly key: string; readonly cert: string }[];
}
