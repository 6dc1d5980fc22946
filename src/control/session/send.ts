// A folder sent to the other side: the daemon's local output to a client, a client's context to the daemon.
import { closeSync, openSync, readSync } from "node:fs";
import { join, readLink, type SelectedEntry } from "../../layer/index.js";
import { deviceNumbers, fsPath, getXattr, listXattrs, type BytePath } from "../../linux/index.js";
import type { BidiStream } from "../grpc.js";
import { decodePacket, encodePacket, goMode, PACKET, type Stat } from "./wire.js";

/** Bytes of one packet, as BuildKit's senders have it. */
const CHUNK = 32 << 10;

export interface SendOptions {
  /** everything is root's, and attributes of the system stay here: what a context is */
  readonly asContext: boolean;
  /** told of bytes */
  readonly moved: (bytes: number) => void;
}

/**
 * @param entries what is sent of the folder
 * @throws ConnectError with what the other side says
 */
export async function sendFolder(
  call: BidiStream,
  folder: BytePath,
  entries: Iterable<SelectedEntry>,
  { asContext, moved }: SendOptions,
): Promise<void> {
  const files: BytePath[] = [];
  const room = Buffer.allocUnsafeSlow(CHUNK);
  let sending: Promise<void> = Promise.resolve();
  const answered = call.read((message) => {
    const { type, id, data } = decodePacket(message);
    if (type === PACKET.ERR) throw new Error(data.toString());
    if (type === PACKET.REQ) {
      const path = files[id];
      if (path === undefined) throw new Error(`entry ${id} is asked for, which was not sent`);
      sending = sending.then(() => sendFile(call, join(folder, path), id, room, moved));
      sending.catch(() => call.cancel());
    } else if (type === PACKET.FIN) {
      void call.send(encodePacket({ type: PACKET.FIN })).then(() => call.end());
    }
  });
  answered.catch(() => undefined);
  const inodes = new Map<bigint, BytePath>();
  for (const entry of entries) {
    // sockets and devices are not part of a context
    if (asContext && !entry.stat.isFile() && !entry.stat.isDirectory() && !entry.stat.isSymbolicLink())
      continue;
    files.push(entry.path);
    const stat = statOf(folder, entry, inodes, asContext);
    await call.send(encodePacket({ type: PACKET.STAT, stat }));
  }
  await call.send(encodePacket({ type: PACKET.STAT }));
  await answered;
  await sending;
}

function statOf(
  folder: BytePath,
  { path, stat }: SelectedEntry,
  inodes: Map<bigint, BytePath>,
  asContext: boolean,
): Stat {
  const full = join(folder, path);
  const isLink = stat.isSymbolicLink();
  let linkname = isLink ? readLink(full) : "";
  if (!isLink && !stat.isDirectory() && stat.nlink > 1n) {
    const known = inodes.get(stat.ino);
    if (known !== undefined) linkname = known;
    else inodes.set(stat.ino, path);
  }
  const { major, minor } =
    stat.isBlockDevice() || stat.isCharacterDevice() ? deviceNumbers(stat.rdev) : { major: 0, minor: 0 };
  const names = isLink ? [] : listXattrs(full);
  const xattrs = (asContext ? names.filter((name) => name.startsWith("user.")) : names).flatMap((name) => {
    const value = getXattr(full, name);
    return value ? [[name, value] as const] : [];
  });
  return {
    path,
    mode: goMode(Number(stat.mode)),
    uid: asContext ? 0 : Number(stat.uid),
    gid: asContext ? 0 : Number(stat.gid),
    size: stat.isFile() ? Number(stat.size) : 0,
    modTime: stat.mtimeNs,
    linkname,
    devmajor: major,
    devminor: minor,
    xattrs: new Map(xattrs),
  };
}

async function sendFile(
  call: BidiStream,
  path: BytePath,
  id: number,
  room: Buffer,
  moved: (bytes: number) => void,
): Promise<void> {
  const fd = openSync(fsPath(path), "r");
  try {
    for (let left = true; left;) {
      const count = readSync(fd, room);
      if (count > 0) await call.send(encodePacket({ type: PACKET.DATA, id, data: room.subarray(0, count) }));
      moved(count);
      left = count === room.length;
    }
    // its end
    await call.send(encodePacket({ type: PACKET.DATA, id }));
  } finally {
    closeSync(fd);
  }
}
