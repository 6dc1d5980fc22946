export {
  buildImage,
  buildIndex,
  type BuiltImage,
  type ImageIndex,
  type ImageLayer,
  type PlatformImage,
} from "./image.js";
export {
  buildAttestation,
  packageUrl,
  statement,
  type AttestationImage,
  type Predicate,
  type Subject,
} from "./attestation.js";
export { pushImage, pushIndex, type BlobSource } from "./push.js";
export { writeArchive } from "./archive.js";
