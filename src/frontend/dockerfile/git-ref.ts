// References to git repositories, in the forms that ADD and build contexts take:
//   https://host/repo.git#ref:subdir   https://host/repo.git?ref=v1&subdir=docs   git@host:repo.git   github.com/a/b
// and the source that BuildKit's client library makes of one.
import { posix } from "node:path";
import { parseBool } from "../../lib/index.js";
import { goQuote } from "./parser/index.js";
import { source, type Output, type VertexOptions } from "../../llb/index.js";

export interface GitRef {
  /** URL without query and fragment */
  readonly remote: string;
  /** "host/path", the same for every protocol */
  readonly id: string;
  /** branch, tag or commit; empty: what the remote's HEAD is */
  readonly ref: string;
  readonly subdir: string;
  readonly checksum: string;
  readonly keepGitDir: boolean | undefined;
  readonly submodules: boolean | undefined;
  readonly isSsh: boolean;
  /** "github.com/..." could as well be a folder */
  readonly looksLocal: boolean;
}

const SCP_STYLE = /^([a-zA-Z0-9-_]+)@([a-zA-Z0-9-.]+):(.*?)(?:\?(.*?))?(?:#(.*))?$/;

/**
 * @returns `undefined` if `text` names no git repository
 * @throws Error for one that is named wrongly
 */
export function parseGitRef(text: string): GitRef | undefined {
  if (text.startsWith("./") || text.startsWith("../")) return undefined;
  const looksLocal = text.startsWith("github.com/");
  const scp = SCP_STYLE.exec(text);
  if (scp && !/^[a-zA-Z0-9]+:\/\//.test(text)) {
    const [, user, host, path, query, fragment] = scp;
    const base = { remote: `${user}@${host}:${path}`, id: hostPath(host!, path!), isSsh: true, looksLocal };
    return withOptions(base, query ?? "", fragment ?? "");
  }
  const full = looksLocal ? `https://${text}` : text;
  const match = /^(https?|ssh|git):\/\/([^/?#]*)([^?#]*)(?:\?([^#]*))?(?:#(.*))?$/s.exec(full);
  if (!match) return undefined;
  const [, scheme, authority, path, query, fragment] = match;
  if (scheme!.startsWith("http") && !looksLocal && !path!.endsWith(".git")) return undefined;
  const host = authority!.slice(authority!.lastIndexOf("@") + 1);
  const remote = `${scheme}://${authority}${path}`;
  const base = { remote, id: hostPath(host, path!), isSsh: scheme === "ssh", looksLocal };
  return withOptions(base, query ?? "", fragment ?? "");
}

function hostPath(host: string, path: string): string {
  return host + posix.join("/", path);
}

type Base = Pick<GitRef, "remote" | "id" | "isSsh" | "looksLocal">;

function withOptions(base: Base, query: string, fragment: string): GitRef {
  const [, fragmentRef, fragmentSubdir] = /^([^:]*)(?::(.*))?$/s.exec(decodeURIComponent(fragment))!;
  let ref = fragmentRef!;
  let subdir = cleanSubdir(fragmentSubdir ?? "");
  let checksum = "";
  let keepGitDir: boolean | undefined;
  let submodules: boolean | undefined;
  const agree = (what: string, old: string, value: string): string => {
    if (old !== "" && old !== value)
      throw new Error(`${what} conflicts: ${goQuote(old)} vs ${goQuote(value)}`);
    return value;
  };
  const parameters = new URLSearchParams(query);
  for (const key of new Set(parameters.keys())) {
    const values = parameters.getAll(key);
    if (values.length > 1) throw new Error(`query ${goQuote(key)} has multiple values`);
    const value = values[0]!;
    const isFlag = key === "keep-git-dir" || key === "submodules";
    if (value === "" && !isFlag) throw new Error(`query ${goQuote(key)} has no value`);
    if (key === "ref") ref = agree("ref", ref, value);
    else if (key === "tag") ref = agree("ref", ref, prefixed("refs/tags/", value));
    else if (key === "branch") ref = agree("ref", ref, prefixed("refs/heads/", value));
    else if (key === "subdir") subdir = cleanSubdir(agree("subdir", subdir, value));
    else if (key === "checksum" || key === "commit") checksum = agree("checksum", checksum, value);
    else if (key === "keep-git-dir") keepGitDir = boolean(key, value);
    else if (key === "submodules") submodules = boolean(key, value);
    else throw new Error(`unexpected query ${goQuote(key)}`);
  }
  return { ...base, ref, subdir, checksum, keepGitDir, submodules };
}

function prefixed(prefix: string, name: string): string {
  return name.startsWith(prefix) ? name : prefix + name;
}

function cleanSubdir(path: string): string {
  const clean = posix.join("/", path).slice(1);
  return clean.replace(/\/$/, "");
}

function boolean(key: string, text: string): boolean {
  const value = text === "" || parseBool(text);
  if (value === undefined) throw new Error(`invalid ${key} value: ${goQuote(text)}`);
  return value;
}

/** The repository as a source of the graph. */
export function gitSource(
  { remote, id, ref, subdir, checksum, isSsh, submodules }: Omit<GitRef, "keepGitDir">,
  keepGitDir: boolean,
  options: VertexOptions,
): Output {
  const fragment = subdir === "" ? ref : `${ref}:${subdir}`;
  const attrs: Record<string, string> = {
    "git.authheadersecret": "GIT_AUTH_HEADER",
    "git.authtokensecret": "GIT_AUTH_TOKEN",
    "git.fullurl": remote,
  };
  const caps = ["source.git", "source.git.fullurl"];
  if (keepGitDir) {
    attrs["git.keepgitdir"] = "true";
    caps.push("source.git.keepgitdir");
  }
  if (isSsh) {
    attrs["git.mountsshsock"] = "default";
    caps.push("source.git.mountsshsock");
  }
  if (checksum !== "") {
    attrs["git.checksum"] = checksum;
    caps.push("source.git.checksum");
  }
  if (submodules === false) {
    attrs["git.skipsubmodules"] = "true";
    caps.push("source.git.skipsubmodules");
  }
  return source(`git://${id}${fragment === "" ? "" : `#${fragment}`}`, attrs, caps, options);
}
