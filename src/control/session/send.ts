// A folder sent to a client: the local output.
import { closeSync, openSync, readSync } from "node:fs";
import { join, listNames, lstat, readLink } from "../../layer/index.js";
import { deviceNumbers, fsPath, getXattr, listXattrs, type BytePath } from "../../linux/index.js";
import type { Call } from "../grpc.js";
import { decodePacket, encodePacket, goMode, PACKET, type Stat } from "./wire.js";

/** Bytes of one packet, as BuildKit's senders have it. */
const CHUNK = 32 << 10;

/** @throws ConnectError with what the client says */
export async function sendFolder(
  call: Call,
  folder: BytePath,
  moved: (bytes: number) => void,
): Promise<void> {
  const files: BytePath[] = [];
  let sending: Promise<void> = Promise.resolve();
  const answered = call.read((message) => {
    const { type, id, data } = decodePacket(message);
    if (type === PACKET.ERR) throw new Error(data.toString());
    if (type === PACKET.REQ) {
      const path = files[id];
      if (path === undefined) throw new Error(`the client asks for entry ${id}, which was not sent`);
      sending = sending.then(() => sendFile(call, join(folder, path), id, moved));
      sending.catch(() => call.cancel());
    } else if (type === PACKET.FIN) {
      void call.send(encodePacket({ type: PACKET.FIN })).then(() => call.end());
    }
  });
  answered.catch(() => undefined);
  const inodes = new Map<bigint, BytePath>();
  for (const path of walk(folder, "")) {
    files.push(path);
    await call.send(encodePacket({ type: PACKET.STAT, stat: statOf(folder, path, inodes) }));
  }
  await call.send(encodePacket({ type: PACKET.STAT }));
  await answered;
  await sending;
}

/** Entries in the order of their names, folders before what is in them. */
function* walk(folder: BytePath, below: BytePath): Generator<BytePath> {
  for (const name of [...listNames(below === "" ? folder : join(folder, below))].sort(compare)) {
    const path = below === "" ? name : `${below}/${name}`;
    yield path;
    if (lstat(join(folder, path)).isDirectory()) yield* walk(folder, path);
  }
}

/** Characters are bytes. */
function compare(a: BytePath, b: BytePath): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function statOf(folder: BytePath, path: BytePath, inodes: Map<bigint, BytePath>): Stat {
  const full = join(folder, path);
  const stat = lstat(full);
  const isLink = stat.isSymbolicLink();
  let linkname = isLink ? readLink(full) : "";
  if (!isLink && !stat.isDirectory() && stat.nlink > 1n) {
    const known = inodes.get(stat.ino);
    if (known !== undefined) linkname = known;
    else inodes.set(stat.ino, path);
  }
  const { major, minor } =
    stat.isBlockDevice() || stat.isCharacterDevice() ? deviceNumbers(stat.rdev) : { major: 0, minor: 0 };
  return {
    path,
    mode: goMode(Number(stat.mode)),
    uid: Number(stat.uid),
    gid: Number(stat.gid),
    size: stat.isFile() ? Number(stat.size) : 0,
    modTime: stat.mtimeNs,
    linkname,
    devmajor: major,
    devminor: minor,
    xattrs: isLink ? new Map() : xattrsOf(full),
  };
}

function xattrsOf(path: BytePath): Map<string, Buffer> {
  return new Map(
    listXattrs(path).flatMap((name) => {
      const value = getXattr(path, name);
      return value ? [[name, value] as const] : [];
    }),
  );
}

async function sendFile(
  call: Call,
  path: BytePath,
  id: number,
  moved: (bytes: number) => void,
): Promise<void> {
  const fd = openSync(fsPath(path), "r");
  try {
    for (;;) {
      const buffer = Buffer.allocUnsafe(CHUNK);
      const count = readSync(fd, buffer);
      await call.send(encodePacket({ type: PACKET.DATA, id, data: buffer.subarray(0, count) }));
      moved(count);
      if (count === 0) return;
    }
  } finally {
    closeSync(fd);
  }
}
