// The parameters of type=azblob, as BuildKit documents them.
import type { Secret } from "../../lib/index.js";

export interface AzblobConfig {
  /** with a SAS in its query, if one was given */
  readonly accountUrl: string;
  readonly accountName: string;
  readonly container: string;
  /** in front of everything */
  readonly prefix: string;
  readonly manifestsPrefix: string;
  readonly blobsPrefix: string;
  /** manifests are written under all of them; imports read them in order */
  readonly names: readonly string[];
  /** without it: a SAS, a connection string, or the environment's Azure sign-in */
  readonly accountKey: Secret | undefined;
  readonly connectionString: Secret | undefined;
  readonly sas: Secret | undefined;
}
