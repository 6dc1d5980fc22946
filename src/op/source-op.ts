// Source ops: which identifier is what kind of source.
import { BuildError, isDigest } from "../lib/index.js";
import type { Platform, SourceOp as SourceBody } from "../llb/index.js";
import type { Op } from "../solver/index.js";
import type { OpContext, RefResult } from "./context.js";
import type { ImageSource } from "../source/index.js";
import { GitOp } from "./git-op.js";
import { HttpOp } from "./http-op.js";
import { ImageOp } from "./image-op.js";
import { LocalOp } from "./local-op.js";

export function sourceOp(
  body: SourceBody,
  platform: Platform,
  context: OpContext,
  stateRoot: string,
): Op<RefResult> {
  const { identifier, attrs } = body;
  if (identifier.startsWith("docker-image://"))
    return imageOp(identifier, platform, context.images, {
      limit: attrs["image.layerlimit"],
      checksum: attrs["image.checksum"],
    });
  if (identifier.startsWith("oci-layout://")) {
    const layout = context.layouts.get(attrs["oci.store"] ?? "");
    if (!layout) throw new BuildError("LAYOUT_MISSING", `the client has no OCI layout for ${identifier}`);
    return imageOp(identifier, platform, layout, { limit: attrs["oci.layerlimit"] });
  }
  if (identifier.startsWith("local://"))
    return new LocalOp(identifier.slice("local://".length), attrs, context);
  if (identifier.startsWith("git://"))
    return new GitOp(identifier.slice("git://".length), attrs, context, stateRoot);
  if (/^https?:\/\//.test(identifier)) return new HttpOp(identifier, attrs, context, stateRoot);
  const [, scheme] = /^([a-z0-9-]+):\/\//.exec(identifier) ?? [];
  const problem =
    scheme === undefined ? `failed to parse ${identifier}: invalid` : `unknown scheme ${scheme}: not found`;
  throw new BuildError("SOURCE_UNSUPPORTED", `failed to load cache key: ${problem}`);
}

interface ImageAttributes {
  /** of layers */
  readonly limit: string | undefined;
  /** digest that the image has to have */
  readonly checksum?: string | undefined;
}

/** @throws BuildError LLB_INVALID */
function imageOp(
  identifier: string,
  platform: Platform,
  images: ImageSource,
  { limit, checksum }: ImageAttributes,
): ImageOp {
  const invalid = (problem: string): BuildError =>
    new BuildError("LLB_INVALID", `failed to load cache key: ${problem}`);
  if (limit !== undefined && !/^[+-]?\d+$/.test(limit))
    throw invalid(
      `invalid layer limit ${limit}: strconv.Atoi: parsing ${JSON.stringify(limit)}: invalid syntax`,
    );
  if (limit !== undefined && Number(limit) <= 0) throw invalid(`invalid layer limit ${limit}`);
  if (checksum !== undefined && !isDigest(checksum))
    throw invalid(`invalid image checksum ${checksum}: invalid checksum digest format`);
  const reference = identifier.replace(/^[a-z-]+:\/\//, "");
  return new ImageOp(reference, platform, images, {
    limit: limit === undefined ? undefined : Number(limit),
    checksum,
  });
}
