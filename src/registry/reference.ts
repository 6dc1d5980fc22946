// Image references: "alpine", "127.0.0.1:5000/app:1", "docker.io/library/alpine@sha256:...". Grammar, normalization and
// error texts are those of the distribution reference library.
import { isDigest, type Digest } from "../lib/index.js";

export interface Reference {
  /** "docker.io", "127.0.0.1:5000" */
  readonly domain: string;
  /** "library/alpine" */
  readonly path: string;
  readonly tag: string | undefined;
  readonly digest: Digest | undefined;
}

const DOMAIN_COMPONENT = "(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])";
const DOMAIN = new RegExp(
  `^(?:${DOMAIN_COMPONENT}(?:\\.${DOMAIN_COMPONENT})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]+)?$`,
);
const PATH_COMPONENT = "[a-z0-9]+(?:(?:[._]|__|[-]+)[a-z0-9]+)*";
const PATH = new RegExp(`^${PATH_COMPONENT}(?:/${PATH_COMPONENT})*$`);
const TAG = /^[\w][\w.-]{0,127}$/;

/** @throws Error in the reference library's words */
export function parseReference(text: string): Reference {
  if (text === "")
    throw new Error("invalid reference format: repository name must have at least one component");
  if (/^[a-f0-9]{64}$/.test(text)) {
    throw new Error(`invalid repository name (${text}), cannot specify 64-byte hexadecimal strings`);
  }
  const slash = text.indexOf("/");
  const first = slash < 0 ? "" : text.slice(0, slash);
  let domain = "docker.io";
  let remainder = text;
  if (
    slash >= 0 &&
    (first.includes(".") || first.includes(":") || first === "localhost" || first.toLowerCase() !== first)
  ) {
    domain = first === "index.docker.io" ? "docker.io" : first;
    remainder = text.slice(slash + 1);
  }
  const at = remainder.indexOf("@");
  const digestText = at < 0 ? undefined : remainder.slice(at + 1);
  const named = at < 0 ? remainder : remainder.slice(0, at);
  const colon = named.indexOf(":", named.lastIndexOf("/") + 1);
  const tag = colon < 0 ? undefined : named.slice(colon + 1);
  let path = colon < 0 ? named : named.slice(0, colon);
  if (path.toLowerCase() !== path) {
    const shown = domain === "docker.io" && !path.includes("/") ? `library/${path}` : path;
    throw new Error(`invalid reference format: repository name (${shown}) must be lowercase`);
  }
  if (domain === "docker.io" && !path.includes("/")) path = `library/${path}`;
  if (!DOMAIN.test(domain) || !PATH.test(path) || (tag !== undefined && !TAG.test(tag))) {
    throw new Error("invalid reference format");
  }
  if (digestText !== undefined && !isDigest(digestText)) throw new Error("invalid reference format");
  return { domain, path, tag, digest: digestText };
}

/** Adds ":latest" where there is neither tag nor digest. */
export function withDefaultTag(reference: Reference): Reference {
  return reference.tag === undefined && reference.digest === undefined
    ? { ...reference, tag: "latest" }
    : reference;
}

/** The normalized text, domain included. */
export function formatReference({ domain, path, tag, digest }: Reference): string {
  return `${domain}/${path}${tag === undefined ? "" : `:${tag}`}${digest === undefined ? "" : `@${digest}`}`;
}

/** The text as people write it: without "docker.io/library/". */
export function familiarReference(reference: Reference): string {
  const { domain, path } = reference;
  const text = formatReference(reference);
  if (domain !== "docker.io") return text;
  return text.slice(path.startsWith("library/") ? "docker.io/library/".length : "docker.io/".length);
}
