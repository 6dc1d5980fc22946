// RUN --mount=...: comma separated options, CSV quoting.
import type { CacheSharing, MountType } from "../../../llb/index.js";
import { messageOf, parseBool, parseCsv } from "../../../lib/index.js";
import { suggest } from "./suggest.js";
import type { MountFlag } from "./types.js";

const TYPES: Readonly<Record<string, MountType>> = {
  bind: "BIND",
  cache: "CACHE",
  tmpfs: "TMPFS",
  secret: "SECRET",
  ssh: "SSH",
};
const KEYS = [
  "type",
  "from",
  "source",
  "target",
  "readonly",
  "id",
  "sharing",
  "required",
  "size",
  "mode",
  "uid",
  "gid",
  "src",
  "dst",
  "destination",
  "ro",
  "rw",
  "readwrite",
  "env",
];
const SHARING: Readonly<Record<string, CacheSharing>> = {
  shared: "SHARED",
  private: "PRIVATE",
  locked: "LOCKED",
};

/** The value of `from` before expansion: it decides which stages a stage needs. */
export function mountFrom(value: string): string {
  return fields(value).find(([key]) => key === "from")?.[1] ?? "";
}

/** What is wrong whatever the variables are. @throws Error in BuildKit's words */
export function checkMount(value: string): void {
  let from: string;
  try {
    if (value === "") throw new Error("EOF");
    from = mountFrom(value);
  } catch (error) {
    throw new Error(`failed to parse csv mounts: ${messageOf(error)}`, { cause: error });
  }
  if (/\$./s.test(from))
    throw new Error("'from' doesn't support variable expansion, define alias stage instead");
}

/** @throws Error in BuildKit's words */
export function parseMount(value: string, expand: (word: string) => string): MountFlag {
  let type: MountType = "BIND";
  let from = "";
  let source = "";
  let target = "";
  let readonly: boolean | undefined;
  let size = 0;
  let id = "";
  let sharing: CacheSharing | "" = "";
  let required = false;
  let env: string | undefined;
  let mode: number | undefined;
  let uid: number | undefined;
  let gid: number | undefined;
  const entries = fields(value);
  const named = entries.find(([key]) => key === "type")?.[1];
  if (named !== undefined) {
    const known = TYPES[expand(named).toLowerCase()];
    if (!known)
      throw new Error(
        suggest(
          `unsupported mount type ${JSON.stringify(expand(named))}`,
          expand(named),
          Object.keys(TYPES),
          true,
        ),
      );
    type = known;
  }
  for (const [key, raw] of entries) {
    if (raw === undefined) {
      if (key === "readonly" || key === "ro") readonly = true;
      else if (key === "readwrite" || key === "rw") readonly = false;
      else if (key === "required") {
        if (type !== "SECRET" && type !== "SSH")
          throw new Error(`unexpected key '${key}' for mount type '${type.toLowerCase()}'`);
        required = true;
      } else throw new Error(`invalid field '${key}' must be a key=value pair`);
      continue;
    }
    const text = key === "from" ? raw : expand(raw);
    switch (key) {
      case "type":
        break;
      case "from":
        from = text;
        break;
      case "source":
      case "src":
        source = text;
        break;
      case "target":
      case "dst":
      case "destination":
        target = text;
        break;
      case "readonly":
      case "ro":
        readonly = boolean(key, text);
        break;
      case "readwrite":
      case "rw":
        readonly = !boolean(key, text);
        break;
      case "required":
        if (type !== "SECRET" && type !== "SSH")
          throw new Error(`unexpected key '${key}' for mount type '${type.toLowerCase()}'`);
        required = boolean(key, text);
        break;
      case "size":
        if (type !== "TMPFS")
          throw new Error(`unexpected key '${key}' for mount type '${type.toLowerCase()}'`);
        size = sizeOf(key, text);
        break;
      case "id":
        id = text;
        break;
      case "sharing": {
        const known = SHARING[text.toLowerCase()];
        if (!known)
          throw new Error(
            suggest(`unsupported sharing value ${JSON.stringify(text)}`, text, Object.keys(SHARING), true),
          );
        sharing = known;
        break;
      }
      case "mode":
        mode = integer(key, text, 8);
        break;
      case "uid":
        uid = integer(key, text, 10);
        break;
      case "gid":
        gid = integer(key, text, 10);
        break;
      case "env":
        if (type !== "SECRET")
          throw new Error(`unexpected key '${key}' for mount type '${type.toLowerCase()}'`);
        env = text;
        break;
      default:
        throw new Error(suggest(`unexpected key '${key}' in '${key}=${raw}'`, key, KEYS, true));
    }
  }
  const credential = type === "SECRET" || type === "SSH";
  const named2 = type.toLowerCase();
  if (mode !== undefined && !credential && type !== "CACHE")
    throw new Error(`mode not allowed for ${JSON.stringify(named2)} type mounts`);
  if (uid !== undefined && !credential && type !== "CACHE")
    throw new Error(`uid not allowed for ${JSON.stringify(named2)} type mounts`);
  if (gid !== undefined && !credential && type !== "CACHE")
    throw new Error(`gid not allowed for ${JSON.stringify(named2)} type mounts`);
  if (sharing !== "" && type !== "CACHE") throw new Error(`invalid cache sharing set for ${named2} mount`);
  if (type === "SECRET") {
    if (from !== "") throw new Error("secret mount should not have a from");
    if (id === "" && source === "" && target === "" && env === undefined) {
      throw new Error("invalid secret mount. one of source, target required");
    }
  } else if (!credential && target === "" && type !== "CACHE" && type !== "BIND" && type !== "TMPFS") {
    throw new Error(`invalid mount type ${named2}`);
  }
  return {
    type,
    from,
    source,
    target,
    readonly: readonly ?? type === "BIND",
    size,
    cacheId: id,
    cacheSharing: sharing,
    required,
    env,
    mode,
    uid,
    gid,
  };
}

function fields(value: string): [string, string | undefined][] {
  return parseCsv(value).map((field) => {
    const at = field.indexOf("=");
    const key = (at < 0 ? field : field.slice(0, at)).toLowerCase();
    return [key, at < 0 ? undefined : field.slice(at + 1)];
  });
}

function boolean(key: string, text: string): boolean {
  const value = parseBool(text);
  if (value === undefined) throw new Error(`invalid value for ${key}: ${text}`);
  return value;
}

function sizeOf(key: string, text: string): number {
  try {
    return parseSize(text);
  } catch {
    throw new Error(`invalid value for ${key}: ${text}`);
  }
}

function integer(key: string, text: string, base: 8 | 10): number {
  if (!(base === 8 ? /^[0-7]+$/ : /^\d+$/).test(text)) throw new Error(`invalid value ${text} for ${key}`);
  return parseInt(text, base);
}

const UNITS: Readonly<Record<string, number>> = {
  "": 1,
  b: 1,
  k: 1024,
  m: 1024 ** 2,
  g: 1024 ** 3,
  t: 1024 ** 4,
  p: 1024 ** 5,
};

/** Docker's sizes: "64m", "1.5GiB"; powers of 1024. */
export function parseSize(text: string): number {
  const match = /^(\d+(?:\.\d+)?) ?([kmgtp]?)i?b?$/i.exec(text);
  const unit = match && UNITS[match[2]!.toLowerCase()];
  if (!match || unit === undefined || unit === null) throw new Error(`invalid size: '${text}'`);
  return Math.trunc(Number(match[1]) * unit);
}
