// Content digests in the form OCI writes them: "sha256:" and 64 hex digits.
// Source of the format: OCI image specification, descriptor.md.
import { createHash } from "node:crypto";

export type Digest = `sha256:${string}` & { readonly __brand: "Digest" };

const FORM = /^sha256:[a-f0-9]{64}$/;

export function digestOf(data: string | Uint8Array): Digest {
  return `sha256:${createHash("sha256").update(data).digest("hex")}` as Digest;
}

export function isDigest(text: string): text is Digest {
  return FORM.test(text);
}

/** @throws TypeError if `text` is not a sha256 digest */
export function parseDigest(text: string): Digest {
  if (!isDigest(text)) throw new TypeError(`invalid digest "${text}"`);
  return text;
}

/** The 64 hex digits of a digest, as used in file names. */
export function hexOf(digest: Digest): string {
  return digest.slice("sha256:".length);
}
