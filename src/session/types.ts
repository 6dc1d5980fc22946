// What the client lends a build: of the same process, or over the tunnel of a daemon's client.
import type { Selection } from "../layer/index.js";
import type { Moved } from "../progress/index.js";
import type { PreviousFolder } from "../worker/index.js";

/** What is wanted of a folder; all patterns are relative to it. */
export type FolderSelection = Selection & {
  /** what it was before: what has not changed need not be sent */
  readonly previous?: PreviousFolder | undefined;
  /** file for what the folder is told to be, relative to the state folder; not written if it is as `previous` is */
  readonly listing?: string | undefined;
  /** Patterns of files that are sent whole; of all others only what they are, in one file of the folder. */
  readonly metadataExcept?: readonly string[] | undefined;
};

export interface Session {
  /** The session that a graph names for a folder; this one if none of that name comes. */
  named?(id: string, signal: AbortSignal): Promise<Session>;
  /** says which client it is, and that its folders change little from one session to the next; empty: it does not */
  readonly sharedKey?: string;
  /**
   * Copies what is wanted of one of the client's folders ("context", "dockerfile", a named context), owned by root.
   * @param target an empty folder, relative to the state folder
   * @param moved is told of bytes
   * @returns whether it is as `previous` is; then nothing was put into `target`
   * @throws BuildError LOCAL_MISSING, CONTEXT_UNREADABLE
   */
  takeFolder(
    name: string,
    selection: FolderSelection,
    target: string,
    moved: Moved,
    signal: AbortSignal,
  ): Promise<boolean>;
  /** Files of a folder by path; those that are not there are left out. @throws BuildError LOCAL_MISSING */
  readFiles(
    name: string,
    paths: readonly string[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, Uint8Array>>;
  /** What the client uploads under a path of `http://buildkit-session`; no client of this process does. */
  upload?(path: string, signal: AbortSignal): AsyncIterable<Uint8Array>;
  /** @returns the secret's bytes, or `undefined` if the client has none of this id */
  secret(id: string): Promise<Uint8Array | undefined>;
  /** path of a socket that leads to an agent, or `undefined` if the client has none of this id */
  agentSocket(id: string): Promise<string | undefined>;
}
