// Where programs are looked for if nothing says it. Source of the values: BuildKit's util/system.

const UNIX = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const WINDOWS = "c:\\Windows\\System32;c:\\Windows;C:\\Windows\\System32\\WindowsPowerShell\\v1.0";

/** @param os of the platform: "linux", "windows" */
export function defaultPath(os = "linux"): string {
  return os === "windows" ? WINDOWS : UNIX;
}
