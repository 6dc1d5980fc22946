// Layers: a tree as a tar archive of what changed. Format: OCI image specification, layer.md, with the headers that
// Go's archive/tar writes, so that equal trees give equal bytes.
import type { Digest } from "../lib/index.js";
import type { BytePath } from "../linux/index.js";

export type EntryType = "file" | "hardlink" | "symlink" | "char" | "block" | "dir" | "fifo";

export interface TarEntry {
  /** without a leading slash; folders end in one */
  readonly name: BytePath;
  readonly type: EntryType;
  /** permission bits with setuid, setgid and sticky */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  /** seconds since 1970 */
  readonly mtime: number;
  readonly linkname: BytePath;
  readonly devmajor: number;
  readonly devminor: number;
  readonly xattrs: ReadonlyMap<string, Buffer>;
}

export type Compression = "gzip" | "zstd" | "estargz" | "uncompressed";

export interface LayerBlob {
  readonly digest: Digest;
  /** bytes of the compressed layer */
  readonly size: number;
  /** digest of the uncompressed layer */
  readonly diffId: Digest;
  /** bytes of the uncompressed layer */
  readonly uncompressedSize: number;
  /** of its descriptor */
  readonly annotations?: Readonly<Record<string, string>>;
}
