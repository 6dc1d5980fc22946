// The actions of a file op, one after another on a mounted tree.
import { lchownSync, mkdirSync, symlinkSync, writeFileSync, chmodSync, readFileSync } from "node:fs";
import { BuildError, codeOf, messageOf } from "../lib/index.js";
import { lookupId } from "../executor/index.js";
import { lstatMaybe, resolveInRoot } from "../layer/index.js";
import { bytePath, fsPath, setTimes, textOf, type BytePath } from "../linux/index.js";
import type { ChownOpt, FileAction, FileActionCopy, UserOpt } from "../llb/index.js";
import { checkReachable, copyTree, expandWildcards, makeFolders, removePath, type Owner } from "./copy.js";
import { fileError } from "./file-error.js";
import type { Mounts } from "./mounts.js";
import { isSymbolicMode } from "./mode.js";
import { TaskError } from "./task-error.js";
import type { FileTask } from "./types.js";
import { unpackArchive } from "./unpack.js";

export async function runFileTask(task: FileTask, mounts: Mounts): Promise<undefined> {
  const root = mounts.writable(task.target);
  for (const [index, action] of task.actions.entries()) {
    const from = task.sources[index];
    const source = from && mounts.view(from);
    try {
      await runAction(root, action, source, mounts);
    } catch (caught) {
      const error = fileError(caught, source === undefined ? [root] : [root, source]);
      throw new TaskError(codeOf(error) ?? "FILE_OP_FAILED", messageOf(error), index, { cause: error });
    }
  }
  return undefined;
}

async function runAction(
  root: BytePath,
  action: FileAction,
  source: BytePath | undefined,
  mounts: Mounts,
): Promise<void> {
  switch (action.kind) {
    case "copy":
      return copy(root, action.copy, source ?? mounts.view({ kind: "layers", layers: [] }));
    case "mkdir": {
      const { path, mode, makeParents, timestamp } = action.mkdir;
      const target = reachable(root, path);
      const owner = ownerOf(root, action.mkdir.owner);
      const known = lstatMaybe(target);
      if (makeParents && known?.isDirectory() === false)
        throw new BuildError("MKDIR_FAILED", `mkdir ${textOf(target.slice(root.length))}: not a directory`);
      if (makeParents) makeFolders(target, mode, owner, timeOf(timestamp));
      else if (!known) {
        mkdirSync(fsPath(target), mode);
        finish(target, mode, owner, timestamp);
      }
      return;
    }
    case "mkfile": {
      const { path, mode, data, timestamp } = action.mkfile;
      const target = reachable(root, path);
      writeFileSync(fsPath(target), data);
      finish(target, mode, ownerOf(root, action.mkfile.owner), timestamp);
      return;
    }
    case "rm":
      return removePath(root, bytePath(action.rm.path), action.rm.allowWildcard, action.rm.allowNotFound);
    case "symlink": {
      const { oldpath, newpath, timestamp } = action.symlink;
      const target = reachable(root, newpath, false);
      symlinkSync(oldpath, fsPath(target));
      const owner = ownerOf(root, action.symlink.owner);
      if (owner) lchownSync(fsPath(target), owner.uid, owner.gid);
      const time = timeOf(timestamp);
      if (time !== undefined) setTimes(target, { atime: time, mtime: time });
    }
  }
}

/** Where a path leads. @throws BuildError NOT_A_FOLDER if that is below a file */
function reachable(root: BytePath, path: string, followLast = true): BytePath {
  const target = resolveInRoot(root, bytePath(path), followLast);
  checkReachable(root, target);
  return target;
}

async function copy(root: BytePath, action: FileActionCopy, source: BytePath): Promise<void> {
  const src = bytePath(action.src);
  const dest = bytePath(action.dest);
  if (!action.createDestPath) {
    const parent = resolveInRoot(root, dest.slice(0, dest.replace(/\/+$/, "").lastIndexOf("/")));
    if (!lstatMaybe(parent))
      throw new BuildError("COPY_FAILED", `failed to stat ${action.dest}: no such file or directory`);
  }
  for (const required of action.requiredPaths) {
    if (!lstatMaybe(resolveInRoot(source, bytePath(required)))) {
      throw new BuildError("NOT_FOUND", `${JSON.stringify(required)}: not found`);
    }
  }
  const mode = modeOf(action);
  const paths = action.allowWildcard ? expandWildcards(source, src, action.followSymlink) : [src];
  if (paths.length === 0 && !action.allowEmptyWildcard)
    throw new BuildError("NOT_FOUND", `${action.src} not found`);
  const owner = ownerOf(root, action.owner);
  const time = timeOf(action.timestamp);
  for (const path of paths) {
    if (
      action.attemptUnpackDockerCompatibility &&
      (await unpackArchive(source, path, root, dest, owner, time))
    )
      continue;
    copyTree(path, dest, {
      sourceRoot: source,
      targetRoot: root,
      owner,
      mode,
      time,
      contentsOnly: action.dirCopyContents,
      followLinks: action.followSymlink,
      includePatterns: action.includePatterns,
      replaces: action.alwaysReplaceExistingDestPaths,
      excludePatterns: action.excludePatterns,
    });
  }
}

/** @returns a number, or a symbolic mode; `undefined` keeps what files have @throws BuildError FILE_OP_INVALID */
function modeOf({ mode, modeStr }: FileActionCopy): number | string | undefined {
  if (modeStr === "") return mode === -1 ? undefined : mode;
  if (/^[0-7]{1,4}$/.test(modeStr)) return parseInt(modeStr, 8);
  if (!isSymbolicMode(modeStr)) throw new BuildError("FILE_OP_INVALID", "invalid syntax");
  return modeStr;
}

function finish(target: BytePath, mode: number, owner: Owner | undefined, timestamp: bigint): void {
  if (owner) lchownSync(fsPath(target), owner.uid, owner.gid);
  chmodSync(fsPath(target), mode);
  const time = timeOf(timestamp);
  if (time !== undefined) setTimes(target, { atime: time, mtime: time });
}

function timeOf(timestamp: bigint): bigint | undefined {
  return timestamp === -1n ? undefined : timestamp;
}

/** Names are looked up in the tree that is changed; one that is not there is root, as in BuildKit. */
function ownerOf(root: BytePath, opt: ChownOpt | undefined): Owner | undefined {
  if (!opt) return undefined;
  const read = (path: string): string => {
    try {
      return readFileSync(fsPath(resolveInRoot(root, bytePath(path))), "latin1");
    } catch {
      return "";
    }
  };
  const id = (user: UserOpt | undefined, kind: "user" | "group", unknown = 0): number | undefined => {
    if (!user) return undefined;
    if (user.kind === "byID") return user.id;
    if (user.input < 0) throw new BuildError("FILE_OP_INVALID", `invalid ${kind} index: ${user.input}`);
    return lookupId(kind, user.name, read) ?? unknown;
  };
  const uid = id(opt.user, "user") ?? 0;
  const primary = opt.user?.kind === "byName" ? primaryGroup(opt.user.name, read) : uid;
  return { uid, gid: id(opt.group, "group", primary) ?? primary };
}

function primaryGroup(name: string, read: (path: string) => string): number {
  const line = read("/etc/passwd")
    .split("\n")
    .find((entry) => entry.startsWith(`${name}:`));
  return line ? Number(line.split(":")[3]) : 0;
}
