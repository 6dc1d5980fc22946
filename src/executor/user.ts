// USER of a step: names looked up in the root's /etc/passwd and /etc/group, as runc's user library does.
import { BuildError } from "../lib/index.js";

export interface ContainerUser {
  readonly uid: number;
  readonly gid: number;
  readonly additionalGids: readonly number[];
}

/**
 * @param spec "", "app", "1000", "app:staff", "1000:50"
 * @param read the content of a file of the root, "" if there is none
 * @throws BuildError USER_UNKNOWN
 */
export function lookupUser(spec: string, read: (path: string) => string): ContainerUser {
  if (spec === "")
    return { uid: 0, gid: 0, additionalGids: [0, ...supplementary("root", read).filter((gid) => gid !== 0)] };
  const [userName, groupName] = spec.split(/:(.*)/s) as [string, string | undefined];
  const users = lines(read("/etc/passwd"));
  const groups = lines(read("/etc/group"));
  const number = /^\d+$/.test(userName) ? Number(userName) : undefined;
  const entry =
    users.find(([name]) => name === userName) ??
    (number === undefined ? undefined : users.find((fields) => Number(fields[2]) === number));
  if (!entry && number === undefined && userName !== "") {
    throw new BuildError(
      "USER_UNKNOWN",
      `unable to find user ${userName}: no matching entries in passwd file`,
    );
  }
  const uid = entry ? Number(entry[2]) : (number ?? 0);
  let gid = entry ? Number(entry[3]) : 0;
  let additional: number[] = [];
  if (groupName !== undefined && groupName !== "") {
    const group = groups.find(([name]) => name === groupName);
    if (!group && !/^\d+$/.test(groupName)) {
      throw new BuildError(
        "USER_UNKNOWN",
        `unable to find group ${groupName}: no matching entries in group file`,
      );
    }
    gid = group ? Number(group[2]) : Number(groupName);
  } else if (entry) {
    additional = supplementary(entry[0]!, read);
  }
  return { uid, gid, additionalGids: [gid, ...additional.filter((id) => id !== gid)] };
}

function supplementary(name: string, read: (path: string) => string): number[] {
  return lines(read("/etc/group"))
    .filter((fields) => (fields[3] ?? "").split(",").includes(name))
    .map((fields) => Number(fields[2]));
}

/** The id of a user or group name, or `undefined`. */
export function lookupId(
  kind: "user" | "group",
  name: string,
  read: (path: string) => string,
): number | undefined {
  const entry = lines(read(kind === "user" ? "/etc/passwd" : "/etc/group")).find(
    ([entryName]) => entryName === name,
  );
  return entry ? Number(entry[2]) : undefined;
}

function lines(text: string): string[][] {
  return text
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => line.split(":"));
}
