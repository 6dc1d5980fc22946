import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FolderListing } from "../../layer/index.js";
import type { BytePath } from "../../linux/index.js";
import type { BidiStream } from "../grpc.js";
import { receiveFolder } from "./receive.js";
import { decodePacket, encodePacket, MODE, PACKET, type Stat } from "./wire.js";

let folder: string;
let target: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bluekiln-receive-"));
  target = join(folder, "target");
  mkdirSync(target);
  writeFileSync(join(folder, "outside"), "untouched");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const stat = (path: string, more: Partial<Stat> = {}): Stat => ({
  path,
  mode: 0o644,
  uid: 0,
  gid: 0,
  size: 0,
  modTime: 1_000_000_000_123_456_789n,
  linkname: "",
  devmajor: 0,
  devminor: 0,
  xattrs: new Map(),
  ...more,
});
const directory = (path: string): Stat => stat(path, { mode: MODE.DIR + 0o755 });
const link = (path: string, linkname: string): Stat => stat(path, { mode: MODE.SYMLINK + 0o777, linkname });

/** A sender of these entries, with contents by path; `extra` packets come in between. */
function sender(
  entries: readonly Stat[],
  contents: Readonly<Record<string, string>> = {},
  extra: Buffer[] = [],
): BidiStream {
  const queue = [...entries.map((entry) => encodePacket({ type: PACKET.STAT, stat: entry })), ...extra];
  queue.push(encodePacket({ type: PACKET.STAT }));
  const call = {
    send: async (message: Buffer) => {
      const { type, id } = decodePacket(message);
      if (type === PACKET.FIN) queue.push(encodePacket({ type: PACKET.FIN }));
      if (type !== PACKET.REQ) return;
      const data = Buffer.from(contents[entries[id]!.path] ?? "");
      for (const part of [data.subarray(0, 2), data.subarray(2)])
        if (part.length > 0) queue.push(encodePacket({ type: PACKET.DATA, id, data: part }));
      queue.push(encodePacket({ type: PACKET.DATA, id, data: Buffer.alloc(0) }));
    },
    end: () => undefined,
    cancel: () => undefined,
    read: async (take: (message: Buffer) => Promise<void> | void) => {
      for (let message = queue.shift(); message; message = queue.shift()) await take(message);
    },
  };
  return call;
}
const receive = (call: BidiStream, before?: BytePath): Promise<boolean> => {
  const previous =
    before === undefined ? undefined : { folder: before, listing: FolderListing.read(`${before}.list`) };
  return receiveFolder(call, target, { moved: () => undefined, previous });
};

describe("a folder that is sent", () => {
  it("comes as it was: files, links, modes, times, names that are no text", async () => {
    const entries = [
      directory("d"),
      stat("d/a\xff", { size: 5, mode: MODE.SETUID + 0o751 }),
      stat("d/empty"),
      // what it is the same as comes later
      stat("d/hard", { linkname: "d/z" }),
      link("d/link", "../../anywhere"),
      stat("d/z", { size: 1 }),
    ];
    await receive(sender(entries, { "d/a\xff": "hello", "d/z": "z" }));
    const names = readdirSync(join(target, "d"), { encoding: "buffer" }).map((name) =>
      name.toString("latin1"),
    );
    expect(names.sort()).toEqual(["a\xff", "empty", "hard", "link", "z"]);
    const file = Buffer.concat([Buffer.from(join(target, "d/a")), Buffer.from([0xff])]);
    expect(readFileSync(file, "utf8")).toBe("hello");
    expect(statSync(file).mode & 0o7777).toBe(0o4751);
    expect(statSync(file, { bigint: true }).mtimeNs).toBe(1_000_000_000_123_456_789n);
    expect(statSync(join(target, "d/hard")).ino).toBe(statSync(join(target, "d/z")).ino);
    expect(readlinkSync(join(target, "d/link"))).toBe("../../anywhere");
    expect(Math.floor(statSync(join(target, "d")).mtimeMs)).toBe(1_000_000_000_123);
  });

  it.each([
    ["a path upwards", [stat("../outside", { size: 1 })]],
    ["a path upwards in the middle", [directory("d"), stat("d/../../outside", { size: 1 })]],
    ["an absolute path", [stat("/outside", { size: 1 })]],
    ["no path", [stat("")]],
    ["a path that is not clean", [directory("d"), stat("d//f")]],
    ["a file below a link", [link("l", ".."), stat("l/outside", { size: 1 })]],
    ["a folder below a link", [link("l", ".."), directory("l/d")]],
    ["a file below a file", [stat("f"), stat("f/g")]],
    ["a file in a folder that was not sent", [stat("d/f")]],
    ["a link instead of a folder", [directory("d"), link("d", "..")]],
    ["a hard link to what was not sent", [stat("f", { linkname: "../outside" })]],
    ["a hard link to an absolute path", [stat("f", { linkname: "/etc/passwd" })]],
    ["a zero in its name", [stat("a\0b")]],
  ])("is refused if it has %s", async (_title, entries) => {
    await expect(receive(sender(entries, {}))).rejects.toThrow(/invalid transfer from client/);
    expect(readFileSync(join(folder, "outside"), "utf8")).toBe("untouched");
    expect(readdirSync(folder).sort()).toEqual(["outside", "target"]);
  });

  it("is refused if data comes that nobody asked for", async () => {
    const data = encodePacket({ type: PACKET.DATA, id: 7, data: Buffer.from("x") });
    await expect(receive(sender([stat("f")], {}, [data]))).rejects.toThrow(/not asked for/);
  });

  it("fails with the sender's words", async () => {
    const error = encodePacket({ type: PACKET.ERR, data: Buffer.from("disk on fire") });
    await expect(receive(sender([], {}, [error]))).rejects.toThrow("error from sender: disk on fire");
  });

  it("is refused if it ends too early, or is no message at all", async () => {
    const ended = { ...sender([]), read: async () => undefined };
    await expect(receive(ended)).rejects.toThrow(/ended too early/);
    await expect(receive(sender([], {}, [Buffer.from([0x0a, 0xff, 0xff])]))).rejects.toThrow();
  });
});

describe("a folder that was sent before", () => {
  const contents = { "d/a": "aaaaa", "d/z": "z" };
  const entries = [
    directory("d"),
    stat("d/a", { size: 5 }),
    stat("d/b", { linkname: "d/a" }),
    link("d/l", "a"),
    stat("d/z", { size: 1 }),
    stat("e"),
  ];
  let before: string;
  beforeEach(async () => {
    before = join(folder, "before");
    mkdirSync(before);
    const options = { moved: () => undefined, listing: `${before}.list` };
    await receiveFolder(sender(entries, contents), before, options);
  });
  /** Paths of which the content was asked for. */
  async function again(list: readonly Stat[]): Promise<{ isSame: boolean; asked: string[] }> {
    const asked: string[] = [];
    const told = new Proxy<Record<string, string>>(
      {},
      { get: (_, path: string) => (asked.push(path), "other") },
    );
    return { isSame: await receive(sender(list, told), before), asked };
  }
  const names = (): string[] => readdirSync(target, { recursive: true }).map(String).sort();

  it("is made again as a whole if nobody knows what it was", async () => {
    rmSync(`${before}.list`);
    expect(await again(entries)).toEqual({ isSame: false, asked: ["d/a", "d/z"] });
  });

  it("is not made again if nothing has changed", async () => {
    expect(await again(entries)).toEqual({ isSame: true, asked: [] });
    expect(names()).toEqual([]);
  });

  it.each<[string, Stat[], string[]]>([
    ["a time", [...entries.slice(0, 4), stat("d/z", { size: 1, modTime: 1n }), entries[5]!], ["d/z"]],
    ["a size", [...entries.slice(0, 4), stat("d/z", { size: 5 }), entries[5]!], ["d/z"]],
    ["a mode", [entries[0]!, stat("d/a", { size: 5, mode: 0o600 }), ...entries.slice(2)], ["d/a"]],
    ["an owner", [entries[0]!, stat("d/a", { size: 5, uid: 7 }), ...entries.slice(2)], ["d/a"]],
    [
      "an attribute",
      [...entries.slice(0, 5), stat("e", { xattrs: new Map([["user.a", Buffer.from("b")]]) })],
      [],
    ],
    ["a link's target", [...entries.slice(0, 3), link("d/l", "z"), ...entries.slice(4)], []],
    ["a link in a file's place", [...entries.slice(0, 5), link("e", "d/a")], []],
    ["a file in a folder's place", [stat("d", { size: 5 }), stat("e")], ["d"]],
    ["a file less", entries.slice(0, 5), []],
    ["a file more", [...entries, stat("f", { size: 5 })], ["f"]],
    ["a folder's time", [stat("d", { mode: MODE.DIR + 0o755, modTime: 1n }), ...entries.slice(1)], []],
    [
      "two files that were one",
      [...entries.slice(0, 2), stat("d/b", { size: 5 }), ...entries.slice(3)],
      ["d/b"],
    ],
  ])("is made again for %s, and only what has changed is asked for", async (_title, list, wanted) => {
    expect(await again(list)).toEqual({ isSame: false, asked: wanted });
    expect(names()).toEqual(list.map(({ path }) => path).sort());
    for (const { path, mode, uid, modTime } of list) {
      if (path === "d/b") continue; // what d/a is
      const made = lstatSync(join(target, path), { bigint: true });
      expect([path, made.uid, made.mtimeNs]).toEqual([path, BigInt(uid), modTime]);
      if (mode < MODE.SYMLINK) expect(Number(made.mode & 0o777n)).toBe(mode);
    }
    const kept = list.filter((entry) => entry === entries[1]);
    for (const { path } of kept) expect(readFileSync(join(target, path), "utf8")).toBe("aaaaa");
  });
});

describe("a folder of which only the metadata is wanted", () => {
  const modTime = 1_577_923_200_000_000_000n;
  const entries = [
    { ...directory("dir"), modTime },
    { ...directory("dir/sub"), modTime },
    stat("dir/sub/y.txt", { size: 1, modTime }),
    stat("dir/x.go", { size: 2, modTime }),
  ];
  const options = { moved: () => undefined, metadataExcept: ["dir/x.go"] };

  it("has it in one file, to the byte as BuildKit writes it, and what is wanted whole", async () => {
    await receiveFolder(sender(entries, { "dir/x.go": "xx" }), target, options);
    expect(readFileSync(join(target, ".fsutil-metadata")).toString("hex")).toBe(
      // dockerd 28.5
      "150000000a0364697210ed83808008308080e4d6a499faf215190000000a076469722f73756210ed83808008308080e4d6a4" +
        "99faf2151e0000000a0d6469722f7375622f792e74787410a4032801308080e4d6a499faf215190000000a086469722f782e" +
        "676f10a4032802308080e4d6a499faf215",
    );
    expect(readdirSync(target, { recursive: true }).sort()).toEqual([".fsutil-metadata", "dir", "dir/x.go"]);
    expect(statSync(join(target, "dir"), { bigint: true }).mtimeNs).toBe(modTime);
  });

  it("is refused if it is taken apart: a second time, a file of that name, a hard link to what is not there", async () => {
    const bad = [
      [...entries, entries[2]!],
      [stat(".fsutil-metadata")],
      [stat("f"), stat("dir", { linkname: "f" })],
    ];
    for (const [i, list] of bad.entries()) {
      const own = join(target, String(i));
      mkdirSync(own);
      const call = sender(list, { "dir/x.go": "xx" });
      const refused = receiveFolder(call, own, { ...options, metadataExcept: ["dir"] });
      await expect(refused).rejects.toThrow(/invalid transfer from client/);
    }
  });
});
