// Source ops: which identifier is what kind of source.
import { BuildError } from "../lib/index.js";
import type { Platform, SourceOp as SourceBody } from "../llb/index.js";
import type { Op } from "../solver/index.js";
import type { OpContext, RefResult } from "./context.js";
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
    return new ImageOp(identifier.slice("docker-image://".length), platform, context.images);
  if (identifier.startsWith("oci-layout://")) {
    const layout = context.layouts.get(attrs["oci.store"] ?? "");
    if (!layout) throw new BuildError("LAYOUT_MISSING", `the client has no OCI layout for ${identifier}`);
    return new ImageOp(identifier.slice("oci-layout://".length), platform, layout);
  }
  if (identifier.startsWith("local://"))
    return new LocalOp(identifier.slice("local://".length), attrs, context);
  if (identifier.startsWith("git://"))
    return new GitOp(identifier.slice("git://".length), attrs, context, stateRoot);
  if (/^https?:\/\//.test(identifier)) return new HttpOp(identifier, attrs, context, stateRoot);
  throw new BuildError("SOURCE_UNSUPPORTED", `source ${identifier} is not supported`);
}
