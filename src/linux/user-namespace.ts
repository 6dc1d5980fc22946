// Building as an ordinary user: the whole command runs again inside a user namespace in which it is root. With
// subordinate ids (/etc/subuid, newuidmap) all users of an image exist there; without them only root does.
import { spawn, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { BuildError } from "../lib/index.js";

/** Whether this process's ids are mapped: it may mount, but make no devices and no trusted attributes. */
export function inUserNamespace(): boolean {
  try {
    const map = readFileSync("/proc/self/uid_map", "utf8").trim().split(/\s+/);
    return !(map[0] === "0" && map[1] === "0" && map[2] === "4294967295");
  } catch {
    return false;
  }
}

const WAYS: readonly (readonly string[])[] = [
  ["--user", "--map-root-user", "--map-auto"],
  ["--user", "--map-root-user"],
];

/**
 * Runs this process's command again as root of a user namespace.
 * @returns its exit code
 * @throws BuildError USER_NAMESPACES_MISSING
 */
export async function runInUserNamespace(): Promise<number> {
  const flags = WAYS.find((way) => spawnSync("unshare", [...way, "true"], { stdio: "ignore" }).status === 0);
  if (!flags) {
    throw new BuildError(
      "USER_NAMESPACES_MISSING",
      "building needs root, or user namespaces for an ordinary user; this machine allows neither to this user " +
        "(run as root, or allow unprivileged user namespaces and install util-linux and uidmap)",
    );
  }
  const child = spawn(
    "unshare",
    [...flags, process.execPath, ...process.execArgv, ...process.argv.slice(1)],
    { stdio: "inherit" },
  );
  const forward = (signal: NodeJS.Signals): void => void child.kill(signal);
  // the terminal sends Ctrl-C to both; the child decides what it means
  process.on("SIGINT", () => undefined).on("SIGTERM", forward);
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve(code ?? 1));
  });
}

/** Whether group `id` exists in this process's user namespace. */
export function hasGroup(id: number): boolean {
  const lines = readFileSync("/proc/self/gid_map", "utf8").trim().split("\n");
  return lines.some((line) => {
    const [inside, , count] = line.trim().split(/\s+/).map(Number);
    return id >= inside! && id < inside! + count!;
  });
}

/** Without subordinate ids a user namespace may not choose supplementary groups. */
export function maySetGroups(): boolean {
  return readFileSync("/proc/self/setgroups", "utf8").trim() !== "deny";
}
