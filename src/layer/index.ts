export type * from "./types.js";
export { applyLayer, type ApplyOptions } from "./apply.js";
export { combineDigests, TreeChecksum, type ChecksumRequest } from "./checksum.js";
export { isWhiteout, sameEntry, writeLayer, type DiffOptions } from "./diff.js";
export { convertLayer, type ConvertOptions } from "./convert.js";
export { EntryWriter } from "./entry-writer.js";
export { TarParser, type TarSink } from "./tar-parser.js";
export { padding, tarHeader, tarTrailer } from "./tar-writer.js";
export { join, listNames, lstat, lstatMaybe, readLink, resolveInRoot } from "./tree.js";
